__version__ = "0.1.0"

import lazy_loader as _lazy

# Names load their module, and its heavy libraries, on first use: `import featgeom` stays instant.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=('core nulls widget stories texts models formats sae training shards columns acts collecting exchange align moments '
                'features products within examples logits finding labels labelling judging matching decoders agreement scatter '
                'embedding panels linkedmap passages reading entries dashboard comparison').split(),
    submod_attrs={
        'core': ['FeatgeomError'],
        'widget': ['link', 'save_together'],
        'stories': ['zoo_path'],
        'texts': ['balanced', 'read_texts'],
        'models': ['load_model', 'capture'],
        'sae': ['FeatureSpace', 'load_sae'],
        'training': ['train_sae'],
        'shards': ['Rows'],
        'acts': ['FeatureActs'],
        'collecting': ['collect'],
        'moments': ['firing_counts'],
        'features': ['capacity', 'feature_stats', 'outliers', 'top_tokens', 'token_labels'],
        'examples': ['pick_examples'],
        'logits': ['logit_effects'],
        'finding': ['FeatureSet', 'find', 'fires_on'],
        'labels': ['Labels', 'auto_labels', 'read_delphi', 'read_neuronpedia'],
        'labelling': ['export_examples', 'label_with'],
        'judging': ['keyword_judge', 'score_labels'],
        'exchange': ['to_parquet', 'from_parquet', 'to_torch', 'from_torch', 'to_delphi', 'from_delphi'],
        'align': ['align_spans', 'split_alike'],
        'matching': ['Pairs', 'match'],
        'decoders': ['match_decoders'],
        'agreement': ['agree', 'held_out'],
        'scatter': ['PairScatter', 'pair_points'],
        'embedding': ['clusters', 'embed'],
        'panels': ['Panel'],
        'linkedmap': ['LinkedMap'],
        'reading': ['read_features'],
        'dashboard': ['Dashboard'],
        'comparison': ['Comparison', 'compare'],
    })
