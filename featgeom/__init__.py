__version__ = "0.1.0"

import lazy_loader as _lazy

# Names load their module, and its heavy libraries, on first use: `import featgeom` stays instant.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=('core nulls widget stories texts models formats sae training shards columns acts collecting exchange align features products '
                'within matching decoders embedding panels linkedmap comparison').split(),
    submod_attrs={
        'core': ['FeatgeomError'],
        'stories': ['zoo_path'],
        'texts': ['balanced', 'read_texts'],
        'models': ['load_model', 'capture'],
        'sae': ['FeatureSpace', 'load_sae'],
        'training': ['train_sae'],
        'shards': ['Rows'],
        'acts': ['FeatureActs'],
        'collecting': ['collect'],
        'features': ['firing_counts', 'outliers', 'top_tokens', 'token_labels'],
        'exchange': ['to_parquet', 'from_parquet', 'to_torch', 'from_torch', 'to_delphi', 'from_delphi'],
        'align': ['align_spans', 'split_alike'],
        'matching': ['Pairs', 'match'],
        'decoders': ['match_decoders'],
        'embedding': ['clusters', 'embed'],
        'panels': ['Panel'],
        'linkedmap': ['LinkedMap'],
        'comparison': ['Comparison', 'compare'],
    })
