"""SAEDashboard 0.8.0 on a model, an SAE and tokens from disk; runs in an environment of its own and prints one line of JSON.

`python run.py FOLDER --features 256 --out FOLDER`: FOLDER holds `model` (a Hugging Face GPT-2 with its tokenizer), `sae` (a
sae-lens folder) and `tokens.npy` (sequences, tokens), all with BOS in front. Settings are SAEDashboard's own; 256 features are
one batch of its default size, so what it does once a batch (the forward passes) is not counted twice. Times are of
`SaeVisRunner.run`, which ends with the data of all features in memory, and of the page written from them."""
import argparse, json, os, time
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE='1', TRANSFORMERS_OFFLINE='1', HF_DATASETS_OFFLINE='1', WANDB_MODE='disabled')

import numpy as np
import torch
from sae_dashboard.data_writing_fns import save_feature_centric_vis
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import SAE, HookedSAETransformer
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

def load_model(folder):
    "The Hugging Face GPT-2 as a HookedTransformer of the same numbers: nothing folded, nothing centred."
    hf = GPT2LMHeadModel.from_pretrained(folder)
    c = hf.config
    cfg = HookedTransformerConfig(
        n_layers=c.n_layer, d_model=c.n_embd, n_ctx=c.n_positions, d_head=c.n_embd//c.n_head, n_heads=c.n_head, d_mlp=4*c.n_embd,
        d_vocab=c.vocab_size, act_fn='gelu_new', eps=c.layer_norm_epsilon, normalization_type='LN', device='cpu', original_architecture='GPT2LMHeadModel')
    model = HookedSAETransformer(cfg)
    model.load_and_process_state_dict(convert_gpt2_weights(hf, cfg), fold_ln=False, center_writing_weights=False,
                                      center_unembed=False, fold_value_biases=False)
    model.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder/'tokenizer.json'), bos_token='<s>', pad_token='<pad>')
    return model.eval()

def top_values(data, at):
    "{feature: activations of its top sequences}, strongest first; `at` is where in a sequence the token in question stands."
    out = {}
    for id, o in data.feature_data_dict.items():
        group = o.sequence_data.seq_group_data[0].seq_data
        out[id] = sorted((seq.feat_acts[at] for seq in group), reverse=True)
    return out

def main(args):
    torch.set_num_threads(args.threads)
    folder, start = Path(args.folder), time.perf_counter()
    model, tokens = load_model(folder/'model'), torch.from_numpy(np.load(folder/'tokens.npy').astype(np.int64))
    sae = SAE.load_from_disk(str(folder/'sae'), device='cpu')
    loaded = time.perf_counter() - start
    cfg = SaeVisConfig(hook_point=args.site, features=list(range(args.features)), device='cpu')
    start, cpu = time.perf_counter(), time.process_time()
    data = SaeVisRunner(cfg).run(encoder=sae, model=model, tokens=tokens)
    run, cpu = time.perf_counter() - start, time.process_time() - cpu
    start = time.perf_counter()
    save_feature_centric_vis(data, Path(args.out)/'peer.html')
    page = time.perf_counter() - start
    (Path(args.out)/'peer.json').write_text(json.dumps(top_values(data, cfg.feature_centric_layout.seq_cfg.buffer[0])))
    print(json.dumps(dict(features=args.features, tokens=tokens.numel(), loaded=loaded, run=run, cpu=cpu, page=page,
                          size=(Path(args.out)/'peer.html').stat().st_size)))

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder'), parser.add_argument('--out', required=True)
    parser.add_argument('--features', type=int, default=256), parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--site', default='blocks.1.hook_resid_post')
    main(parser.parse_args())
