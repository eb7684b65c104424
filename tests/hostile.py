"""Mutated files against every door that opens one: the mutation engine, the doors, and a worker that runs cases in its own process.

A case is (target, number): its seed, so it can be run again alone: `python tests/hostile.py TARGET FOLDER NUMBER`.
Right answers are a sane object or a FeatgeomError. A file is never followed out of its folder, never unpickled."""
from pathlib import Path
from collections import Counter
from functools import lru_cache
import copy, io, json, logging, os, pickle, random, resource, shutil, signal, subprocess, sys, traceback, warnings, zipfile

import numpy as np

SLACK = 192*2**20      # bytes a case may need beyond what the process held before it
SECRET = '{"text": "secret"}'
SECONDS = int(os.environ.get("HOSTILE_SECONDS", 60))           # wall time of a case; a busy machine is no hang

# ---- values and names that parsers choke on

NAMES = ['../outside/secret', '../../outside/secret', '/etc/passwd', 'a/b', '..', '.', '', 'a\0b', '\ud800', '\u202e', 'é' * 200, 'x' * 5000, 'con',
         '__class__', '__metadata__', 'W_enc', 'values', 'shard-00000.safetensors', 'meta.json', '~', '$HOME', '%s%n', '{0}', '</script>', ' ', '\n']

def odd_value(rng):
    "Something JSON can hold and hardly anybody expects."
    return copy.deepcopy(rng.choice([None, True, False, 0, -1, 1, 2, 3, 7, 255, 2**24, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -2**63, 10**30, 10**400,
        .5, -.0, 1.5, 1e-300, 1e308, float('nan'), float('inf'), -float('inf'), '0', '1', 'a', *NAMES[:12], *NAMES[12:], [], {}, [[]], [None], [{}],
        [0]*100, [1, 'a'], {'a': {}}, {'': 0}, {'0': 0}, [[[[[[[[[]]]]]]]]], ['x']*50, 'F16', 'I64', 'float16', 'float64', 'gated', 'topk', 'token', 'csr', 'dense']))

def paths_of(node, at=()):
    "All places in a JSON value."
    yield at
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items: yield from paths_of(value, (*at, key))

def change_json(node, rng):
    "One to three changes: another value, a key gone, added, renamed, doubled, moved; a number a little off."
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = list(paths_of(node))
        shallow = [o for o in places if len(o) <= 2]
        at = rng.choice(shallow if rng.random() < .6 else places)
        if not at:
            if rng.random() < .1: node = odd_value(rng)
            continue
        parent = node
        for key in at[:-1]: parent = parent[key]
        key, how = at[-1], rng.random()
        if how < .45: parent[key] = odd_value(rng)
        elif how < .6:
            if isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool): parent[key] += rng.choice([-1, 1, 2, -2, 10, 1000, .5])
            elif isinstance(parent[key], str): parent[key] = rng.choice([parent[key] + '\0', parent[key][:-1], parent[key]*3, parent[key].upper()])
            elif isinstance(parent[key], list): parent[key] = rng.choice([parent[key]*2, parent[key][:-1], parent[key][::-1], parent[key]*50])
            else: parent[key] = [parent[key]]
        elif how < .75: del parent[key]
        elif isinstance(parent, dict):
            if how < .85: parent[rng.choice([*NAMES, *map(str, parent)])] = parent.pop(key)
            elif how < .95: parent[rng.choice(NAMES)] = odd_value(rng)
            else: parent[key] = copy.deepcopy(rng.choice(list(parent.values())))
        elif how < .9: parent.insert(rng.randrange(len(parent) + 1), odd_value(rng))
        else: rng.shuffle(parent)
    return node

def dump(node, rng=None): return json.dumps(node, indent=None if rng is None else rng.choice([None, 1])).encode('utf-8', 'surrogatepass')

def change_json_text(data, rng):
    "Changes that only the text can show: deep nesting, endless numbers, doubled keys, bare words, another encoding."
    text = data.decode('utf-8', 'replace')
    numbers = [i for i, c in enumerate(text) if c.isdigit()]
    at = rng.choice(numbers) if numbers else 0
    deep = rng.choice([100, 3000, 100_000])
    how = rng.randrange(12)
    if how == 0: text = '['*deep + ']'*deep
    elif how == 1: text = text[:-1] + ', "deep": ' + '{"a":'*deep + '1' + '}'*deep + '}'
    elif how == 2: text = text[:at] + '9'*rng.choice([20, 400, 5000]) + text[at + 1:]
    elif how == 3: text = text[:at] + rng.choice(['NaN', 'Infinity', '-Infinity', '1e999', '-0', '1E5', '0x10', '01']) + text[at + 1:]
    elif how == 4: return rng.choice(['utf-16', 'utf-32', 'utf-8-sig', 'latin-1']).join(['', '']).encode() + text.encode(rng.choice(['utf-16', 'utf-32', 'utf-8-sig']), 'replace')
    elif how == 5: text = text.rstrip().rstrip('}') + ', ' + text.lstrip().lstrip('{')
    elif how == 6: text = text + rng.choice([' ', '\0', '{}', text])
    elif how == 7: text = text.replace('"', "'")
    elif how == 8: text = rng.choice(['null', '0', '""', '[]', '{}', 'true', '"' + 'a'*10_000 + '"', '\ufeff{}', 'NaN'])
    elif how == 9: return data.replace(b'"', b'"\xff\xfe', 1)
    elif how == 10: return data.replace(b'"', b'"\xed\xa0\x80', 1)
    else: text = text.replace(rng.choice([':', ',', '"', '{', '[']), rng.choice(['', '::', '\u2028', '\\']), 1)
    return text.encode('utf-8', 'replace')

# ---- bytes

def change_bytes(data, rng):
    "Flips, cuts, insertions, repeats."
    data, how = bytearray(data), rng.randrange(9)
    at = rng.randrange(len(data) + 1)
    head = rng.randrange(min(len(data), 512) + 1)
    if how == 0 and data:
        for _ in range(rng.choice([1, 1, 2, 8, 64])): data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 1: del data[at:]
    elif how == 2: data[head:head] = rng.randbytes(rng.choice([1, 4, 100]))
    elif how == 3: del data[head:head + rng.choice([1, 2, 16])]
    elif how == 4: data[at:at + 16] = bytes(16)
    elif how == 5: data += rng.choice([b'\0', bytes(data), rng.randbytes(50)])
    elif how == 6: data = bytearray(rng.randbytes(rng.choice([0, 1, 7, 8, 9, 100, 5000])))
    elif how == 7 and data: data[rng.randrange(min(len(data), 64))] = rng.choice([0, 255, 128, 127, 1])
    else: data[at:at + 8] = rng.choice([b'\xff'*8, b'\0\0\xc0\x7f'*2, b'\0\0\x80\xff'*2, b'\0|'*4, b'\xff\x7f'*4])   # NaN, Inf, in float32 and float16
    return bytes(data)

class Canary:
    "Unpickling this leaves a folder behind."
    def __init__(self, path): self.path = path
    def __reduce__(self): return (os.mkdir, (self.path,))

def disguise(rng, canary):
    "A pickle or a zip bomb under another name."
    how = rng.randrange(6)
    evil = pickle.dumps(Canary(str(canary)), protocol=rng.choice([0, 2, 4]))
    if how == 0: return evil
    if how == 1: return b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.' + evil      # how old torch files begin
    if how == 4: return bomb()
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as z:
        if how == 2:
            z.writestr('archive/data.pkl', evil); z.writestr('archive/version', '3\n')
        elif how == 3:
            object_array = io.BytesIO()
            np.lib.format.write_array_header_1_0(object_array, dict(descr='|O', fortran_order=False, shape=(1,)))
            for name in ('W_enc', 'W_dec', 'b_enc', 'b_dec', 'threshold'): z.writestr(f'{name}.npy', object_array.getvalue() + evil)
        else: z.writestr('../outside/secret', b'x'*100); z.writestr('W_enc.npy', b'\x93NUMPY\x01\x00v\x00' + evil)
    return out.getvalue()

@lru_cache
def bomb():
    "A zip file of half a megabyte that unpacks to half a gigabyte of zeros."
    out, head, names = io.BytesIO(), io.BytesIO(), ('W_enc', 'W_dec', 'b_enc', 'b_dec', 'threshold')
    np.lib.format.write_array_header_1_0(head, dict(descr='<f4', fortran_order=False, shape=(2**12, 2**13)))
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for name in names:
            z.writestr(f'{name}.npy', head.getvalue() + bytes(2**27))
    return out.getvalue()

# ---- safetensors

def change_safetensors(data, rng):
    "The header lies: lengths, offsets, shapes, types, names, doubled keys; or the JSON that it carries is changed."
    n = int.from_bytes(data[:8], 'little')
    header, body = json.loads(data[8:8 + n]), data[8 + n:]
    names = [o for o in header if o != '__metadata__']
    name, how = rng.choice(names), rng.randrange(16)
    one = header[name]
    text = None
    if how == 0: one['data_offsets'] = rng.choice([[0, len(body)*2], [2**63, 2**63 + 4], [0, 10**30], [-4, 0], [4, 0], [0, 0], [1, 2], [], [0], [0, 1, 2], None, 'a', [.5, 1.5], [0, 2**64], copy.deepcopy(header[rng.choice(names)]['data_offsets'])])
    elif how == 1: one['shape'] = rng.choice([[2**32, 2**32], [2**62, 4], [2**31, 2**31, 2**31], [-1], [0], [], [1]*40, [1]*70, None, 'a', [.5], [10**30], one['shape'][::-1], [*one['shape'], 1], [int(np.prod(one['shape']))], [1, *one['shape']]])
    elif how == 2: one['dtype'] = rng.choice(['F64', 'F16', 'BF16', 'I8', 'U8', 'I16', 'U16', 'I32', 'U32', 'I64', 'U64', 'BOOL', 'F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F4', 'F6_E2M3', 'C64', 'Q9', '', None, 3, 'f32'])
    elif how == 3: header[rng.choice(NAMES)] = header.pop(name)
    elif how == 4: del header[name]
    elif how == 5: header['__metadata__'] = rng.choice([None, 3, 'a', [], {'a': 1}, {'a': None}, {'featgeom': 'x'}, {'featgeom': '[]'}, {'featgeom': '{}'}, {'format': 'pt'}, {str(i): 'x' for i in range(1000)}, {'featgeom': '['*10_000}])
    elif how == 6: text = json.dumps(header)[:-1] + f', {json.dumps(name)}: ' + json.dumps(rng.choice([header[o] for o in names])) + '}'
    elif how == 7: other = rng.choice(names); header[name], header[other] = header[other], header[name]
    elif how == 8 and '__metadata__' in header and 'featgeom' in header['__metadata__']:
        inner = change_json(json.loads(header['__metadata__']['featgeom']), rng)
        header['__metadata__']['featgeom'] = json.dumps(inner)
    elif how == 9 and '__metadata__' in header and 'featgeom' in header['__metadata__']:
        header['__metadata__']['featgeom'] = change_json_text(header['__metadata__']['featgeom'].encode(), rng).decode('utf-8', 'replace')
    elif how == 10: header = change_json(header, rng)
    elif how == 11: return rng.choice([0, 1, 2**20, 2**31, 2**63, 2**64 - 1, len(data), len(data) - 8, n - 1, n + 1]).to_bytes(8, 'little') + data[8:]
    elif how == 12:           # numbers that are no activation or weight, exactly at one entry
        width = rng.choice([2, 4, 8])
        at = rng.randrange(max(1, len(body)//width))*width
        odd = dict(zip((2, 4, 8), (np.float16, np.float32, np.float64)))[width]
        with np.errstate(over='ignore'): body = body[:at] + np.array(rng.choice([np.nan, np.inf, -np.inf, 0, -1, 1e-45, 1e38, -1e38]), odd).tobytes() + body[at + width:]
    elif how == 13:
        at = rng.randrange(max(1, len(body)//4))*4
        body = body[:at] + np.array(rng.choice([-1, -2**31, 2**31 - 1, 0, 1, 5, 1000, 2**24]), np.int32).tobytes() + body[at + 4:]
    elif how == 14: body = rng.choice([body[:-1], body + b'\0', b'', body*2, bytes(len(body)), b'\xff'*len(body)])
    else: header = {**{f'extra{i}': dict(dtype='F32', shape=[0], data_offsets=[len(body)]*2) for i in range(rng.choice([1, 5000]))}, **header}
    head = (text or json.dumps(header)).encode()
    head += b' '*(-len(head) % 8)
    return len(head).to_bytes(8, 'little') + head + body

def change_jsonl(data, rng):
    "One line of many."
    lines = data.split(b'\n')
    at, how = rng.randrange(len(lines)), rng.randrange(6)
    if how == 0 and lines[at].strip(): lines[at] = dump(change_json(json.loads(lines[at]), rng))
    elif how == 1: lines[at] = change_json_text(lines[at] or b'{}', rng)
    elif how == 2: del lines[at]
    elif how == 3: lines.insert(at, rng.choice([b'', b'{}', b'null', b'"x"', lines[at], b'\xff', b'{"text": null}', b'{"text": "\\ud800"}', b'{"text": ""}', b'{"text": "' + b'x'*100_000 + b'"}']))
    elif how == 4: rng.shuffle(lines)
    else: lines[at] = change_bytes(lines[at], rng)
    return b'\n'.join(lines)

def change_place(path, rng, outside):
    "Something else than a file stands there."
    how = rng.randrange(11)
    if how == 10:       # much larger than what is written of it
        with open(path, 'r+b') as f: f.truncate(2**36)
        return 'sparse'
    path.unlink()
    if how == 0: path.mkdir()
    elif how == 1: os.mkfifo(path)
    elif how == 2: path.symlink_to('/dev/zero')
    elif how == 3: path.symlink_to('/dev/urandom')
    elif how == 4: path.symlink_to(path.name)
    elif how == 5: path.symlink_to(path.parent)
    elif how == 6: path.symlink_to(outside/'nothing')
    elif how == 7: path.symlink_to('/dev/null')
    elif how == 8: path.touch()
    return ('a folder', 'a FIFO', '/dev/zero', '/dev/urandom', 'a loop', 'its folder', 'a dead link', '/dev/null', 'empty', 'gone')[how]

def mutate(folder, rng, outside, keep=()):
    "Change one file of a folder (two, one time in ten); what was done, in words."
    done = []
    for _ in range(rng.choice([1]*9 + [2])):
        files = sorted(o for o in folder.rglob('*') if o.is_file() and not o.is_symlink() and o.stat().st_size < 2**30 and o.name not in keep)
        if not files: break
        path = rng.choice(files)
        data, name, how = path.read_bytes(), path.name, rng.random()
        try:
            if how < .07: what = change_place(path, rng, outside)
            elif how < .10: what = 'disguise'; path.write_bytes(disguise(rng, outside/'canary'))
            elif how < .30: what = 'bytes'; path.write_bytes(change_bytes(data, rng))
            elif name.endswith('.json'):
                what = 'json' if how < .8 else 'json text'
                path.write_bytes(dump(change_json(json.loads(data), rng), rng) if how < .8 else change_json_text(data, rng))
            elif name.endswith('.safetensors'): what = 'tensors'; path.write_bytes(change_safetensors(data, rng))
            elif name.endswith('.jsonl'): what = 'lines'; path.write_bytes(change_jsonl(data, rng))
            elif name.endswith(('.npz', '.pt')): what = 'zip'; path.write_bytes(change_zip(data, rng))
            else: what = 'bytes'; path.write_bytes(change_bytes(data, rng))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, zipfile.BadZipFile, OSError):   # a second change may find no structure left
            what = 'bytes'
            path.write_bytes(change_bytes(data, rng))
        done.append(f'{path.relative_to(folder)}: {what}')
    return '; '.join(done)

def change_zip(data, rng):
    "A member of a zip file (numpy's .npz, torch's .pt) is changed, renamed, doubled or lost."
    with zipfile.ZipFile(io.BytesIO(data)) as z: members = {o.filename: z.read(o) for o in z.infolist()}
    name, how = rng.choice(sorted(members)), rng.randrange(6)
    double = how == 4
    if how in (0, 1): members[name] = change_bytes(members[name], rng)
    elif how == 2: members[rng.choice(NAMES).encode('utf-8', 'replace').decode()] = members.pop(name)
    elif how == 3: del members[name]
    elif how == 5 and name.endswith('.npy'): members[name] = change_npy(members[name], rng)
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, 'w', rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
        warnings.simplefilter('ignore')
        for key, value in members.items(): z.writestr(key or 'empty', value)
        if double: z.writestr(name, members[name])
    return out.getvalue()

def change_npy(data, rng):
    "The header of a numpy array lies."
    array = np.load(io.BytesIO(data), allow_pickle=False)
    shape = rng.choice([(2**62, 4), (2**31, 2**31), (-1,), (), (0,), (2**40,), array.shape[::-1], (1,)*40, (10**30,)])
    descr = rng.choice(['<f4', '<f8', '<f2', '|O', '<i8', '|S5', '<c8', '|V4', '<M8[s]', '|b1', '>f4', 'x', [('a', '<f4')]])
    text = repr(dict(descr=descr, fortran_order=rng.choice([True, False, 3]), shape=shape)) if rng.random() < .8 else rng.choice(['{', "__import__('os')", '['*5000, '1'*6000, '{}'])
    text = text.encode()[:60_000] + b'\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + array.tobytes()

# ---- the doors: for each target what makes its folder, and what a stranger does with it

TARGETS = {}

def target(make, keep=(), change=mutate):
    "Register a door: `make(folder)` writes a good folder, the function uses a folder and says what is insane."
    def register(door):
        TARGETS[door.__name__] = dict(door=door, make=make, keep=keep, change=change)
        return door
    return register

def need(ok, what):
    if not ok: raise AssertionError(what)

def seeded(*shape, seed=0): return np.random.default_rng(seed).normal(size=shape).astype('f4')

D, F = 8, 24

def sae_arrays(): return dict(W_enc=seeded(D, F), W_dec=seeded(F, D, seed=1), b_enc=seeded(F, seed=2), b_dec=seeded(D, seed=3))

META = dict(model_name='story', hook_name='blocks.0.hook_resid_post', prepend_bos=True, context_size=16)

def make_topk(folder):
    from featgeom.sae import SAE
    SAE(sae_arrays(), 'topk', META, k=4).save(folder)

def make_jumprelu(folder):
    from featgeom.sae import SAE
    SAE(dict(sae_arrays(), threshold=np.full(F, .1, 'f4')), 'jumprelu', META, normalize_activations='layer_norm').save(folder)

def make_gated(folder):
    from featgeom.sae import SAE
    a = sae_arrays()
    b = a.pop('b_enc')
    SAE(dict(a, b_gate=b, r_mag=b*.1, b_mag=b*.5), 'gated', META).save(folder)

def make_old_cfg(folder):
    "A configuration from before sae-lens 6, which sae-lens itself rewrites."
    make_topk(folder)
    old = dict(architecture='standard', d_in=D, d_sae=F, dtype='float32', device='cpu', model_name='story', hook_name='blocks.0.hook_resid_post', hook_layer=0,
               hook_head_index=None, activation_fn_str='topk', activation_fn_kwargs={'k': 4}, apply_b_dec_to_input=True, finetuning_scaling_factor=False,
               sae_lens_training_version=None, prepend_bos=True, dataset_path='x', dataset_trust_remote_code=True, context_size=16, normalize_activations='none', neuronpedia_id=None)
    (folder/'cfg.json').write_text(json.dumps(old))

def use_sae(sae):
    import torch
    need(all(torch.isfinite(o).all() for o in sae.weights.values()), 'weights that are not finite')
    need(sae.d_in*sae.d_sae < 10**6, 'sizes')
    x = torch.linspace(-2, 2, 3*sae.d_in).reshape(3, sae.d_in)
    codes = sae.encode(x)
    need(codes.shape == (3, sae.d_sae), 'shape of the codes')
    indptr, indices, values = sae.encode_csr(x)
    need(indptr[-1] == len(indices) == len(values) and (not len(indices) or 0 <= indices.min() <= indices.max() < sae.d_sae), 'csr of the codes')
    need(sae.reconstruct(x).shape == x.shape, 'shape of the reconstruction')
    need(len(repr(sae)) < 10**5 and len(sae.hash) == 64, 'repr and hash')
    return sae

@target(make_topk)
def sae_topk(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

@target(make_jumprelu)
def sae_jumprelu(folder):
    from featgeom.sae import load_sae
    sae = use_sae(load_sae(folder))
    saved = sae.save(folder.parent/'saved')
    need(load_sae(saved).hash == sae.hash, 'another hash after saving')

@target(make_gated)
def sae_gated(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder/'cfg.json' if folder.name == 'x' else folder))

@target(make_old_cfg)
def sae_old_cfg(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

def make_raw(folder):
    from safetensors.numpy import save_file
    save_file(sae_arrays(), folder/'raw.safetensors')

@target(make_raw)
def sae_raw(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder/'raw.safetensors'))

def make_sparsify(folder):
    from safetensors.numpy import save_file
    a, inside = sae_arrays(), folder/'layers.3'
    inside.mkdir()
    cfg = dict(activation='topk', expansion_factor=32, normalize_decoder=True, num_latents=F, k=4, multi_topk=False, skip_connection=False, transcode=False, d_in=D)
    (inside/'cfg.json').write_text(json.dumps(cfg))
    (folder/'config.json').write_text(json.dumps(dict(model='story', ctx_len=16)))
    save_file({'encoder.weight': np.ascontiguousarray(a['W_enc'].T), 'encoder.bias': a['b_enc'], 'W_dec': a['W_dec'], 'b_dec': a['b_dec']}, inside/'sae.safetensors')

@target(make_sparsify)
def sae_sparsify(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder/'layers.3'))

def make_dictionary(kind):
    def make(folder):
        import torch
        a = {key: torch.from_numpy(o) for key, o in sae_arrays().items()}
        trainer = dict(dict_class=kind, activation_dim=D, dict_size=F, layer=1, lm_name='story', submodule_name='resid_post_layer_1', seed=0)
        state = {'encoder.weight': a['W_enc'].T.contiguous(), 'encoder.bias': a['b_enc'], 'decoder.weight': a['W_dec'].T.contiguous(), 'b_dec': a['b_dec']}
        if kind == 'AutoEncoder': state['bias'] = state.pop('b_dec')
        else: state |= {'k': torch.tensor(4), 'threshold': torch.tensor(.1)}
        if kind == 'AutoEncoderTopK': trainer['k'] = 4
        (folder/'config.json').write_text(json.dumps(dict(trainer=trainer, buffer=dict(d_submodule=D, io='out', ctx_len=16))))
        torch.save(state, folder/'ae.pt')
    return make

@target(make_dictionary('AutoEncoderTopK'))
def sae_dictionary_topk(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

@target(make_dictionary('AutoEncoder'))
def sae_dictionary(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

@target(make_dictionary('BatchTopKSAE'))
def sae_dictionary_batchtopk(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

def gemma_arrays(): return dict(sae_arrays(), threshold=np.full(F, .1, 'f4'))

@target(lambda folder: np.savez(folder/'params.npz', **gemma_arrays()))
def sae_gemma(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

def make_gemma_2(folder):
    from safetensors.numpy import save_file
    save_file({key.replace('W_', 'w_'): o for key, o in gemma_arrays().items()}, folder/'params.safetensors')

@target(make_gemma_2)
def sae_gemma_2(folder):
    from featgeom.sae import load_sae
    use_sae(load_sae(folder))

# stores

TEXTS = ['the king saw the queen', '', 'a cat </script> \U0001f451', 'one two three four five six seven']

def small_acts(n=40, f=F, dense=False):
    from scipy import sparse
    from featgeom.acts import FeatureActs, Rows
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(n, f)).astype('f4')*(rng.random((n, f)) < .2)
    doc = np.sort(rng.choice([0, 2, 3], n))
    pos = np.concatenate([np.arange(c) for c in np.unique(doc, return_counts=True)[1]])
    start = np.minimum(pos, 10)
    tokens = {i: o for i, o in enumerate(['<s>', 'the', ' king', '\udc9f', '</script>'])}
    if dense: values = rng.normal(size=(n, f)).astype('f4')
    return (FeatureActs.from_dense if dense else FeatureActs.from_csr)(values if dense else sparse.csr_array(values), Rows(doc=doc, pos=pos, token_id=rng.integers(0, 5, n), start=start, end=start + 1), 'A', TEXTS, tokens)

def make_store(folder): small_acts().save(folder, shard=16)

def fix_manifest(folder):
    "Make sizes and hashes in the manifest those of the files, as somebody who means harm would."
    import hashlib
    from featgeom.shards import sealed
    if not (folder/'meta.json').is_file(): return
    try:
        meta = json.loads((folder/'meta.json').read_bytes())
        for o in [*meta['shards'], *meta['files']]:
            path = folder/o['file']
            if path.is_file() and path.stat().st_size < 2**24:
                data = path.read_bytes()
                o.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        (folder/'meta.json').write_text(json.dumps(sealed(meta)))
    except (ValueError, TypeError, KeyError, OSError, AttributeError, RecursionError): pass

def mutate_store(folder, rng, outside, keep=()):
    "As `mutate`; half of the time the manifest is made to agree afterwards."
    what = mutate(folder, rng, outside, ('meta.json',) if (fix := rng.random() < .6) and rng.random() < .6 else keep)
    if fix: fix_manifest(folder)
    return what + ' (manifest agrees)'*fix

def use_store(folder):
    from featgeom.acts import FeatureActs
    from featgeom.core import FeatgeomError
    from featgeom.features import feature_stats, firing_counts, token_strings, top_tokens
    def door(what, *errors):
        try: return what()
        except (FeatgeomError, *errors): return None
    acts = FeatureActs.open(folder)
    need(len(acts) < 10**6 and acts.n_features <= 2**24, 'sizes')
    repr(acts)
    found = [door(lambda: acts.csr()), door(lambda: acts.rows), door(lambda: acts.texts), door(lambda: acts.tokens), door(lambda: acts.column(0)),
             door(lambda: acts.column(acts.n_features - 1)), door(lambda: list(acts.blocks())), door(lambda: acts.csc())]
    csr, rows, texts, tokens = found[:4]
    if csr is not None: need(np.isfinite(csr.data).all() and csr.shape == acts.shape and (not csr.nnz or csr.indices.max() < acts.n_features), 'a matrix that is insane')
    if rows is not None: need(len(rows) == len(acts) or not rows.columns, 'another number of rows')
    if texts is not None: need(all(isinstance(o, str) for o in texts), 'texts')
    if rows is not None and texts is not None and {'doc', 'start', 'end'} <= {*rows.columns}: door(lambda: acts.token_text(np.arange(len(acts))))
    elif rows is not None: door(lambda: acts.token_text(0))
    if acts.n_features < 10**5:
        for use in (firing_counts, feature_stats, lambda o: top_tokens(o, 3), lambda o: token_strings(o, o.rows.token_id)):
            door(lambda: use(acts), *((AttributeError,) if rows is not None and 'token_id' not in rows.columns else ()))
    try: FeatureActs.open(folder).verify()
    except FeatgeomError: return
    return acts

def same_store(folder, good):
    "A store that verifies either holds what was written, or its manifest was changed to agree."
    from featgeom.acts import FeatureActs
    (a, b) = (FeatureActs.open(o) for o in (folder, good))
    if [o.get('sha256') for o in (*a.meta['shards'], *a.meta['files'])] != [o.get('sha256') for o in (*b.meta['shards'], *b.meta['files'])]: return
    for o in b.meta['shards']: need((folder/o['file']).read_bytes() == (good/o['file']).read_bytes(), 'verify missed a change')

@target(lambda folder: small_acts(dense=True).save(folder, shard=16), change=mutate_store)
def store_dense(folder):
    if use_store(folder) is not None: same_store(folder, folder.parent.parent/'good'/'store_dense')

@target(make_store, change=mutate_store)
def store(folder):
    if use_store(folder) is not None: same_store(folder, folder.parent.parent/'good'/'store')

def make_indexed(folder):
    make_store(folder)
    from featgeom.acts import FeatureActs
    FeatureActs.open(folder).index()

@target(make_indexed, change=mutate_store)
def store_indexed(folder):
    "A column read through the index is that of the matrix, or the index is refused."
    from featgeom.acts import FeatureActs
    from featgeom.core import FeatgeomError
    acts, refused = FeatureActs.open(folder), None
    repr(acts)
    for j in range(acts.n_features if acts.n_features < 1000 else 3):
        try:
            rows, values = acts.column(j)
            dense = acts.csr()[:, [j]].toarray()[:, 0]
            need((np.flatnonzero(dense) == rows).all() and (dense[rows] == values).all(), 'a column that is not the matrix')
        except FeatgeomError as e: refused = e
    try: acts.verify()
    except FeatgeomError: refused = None or refused
    if refused: raise refused

def make_half(folder):
    "A store whose writer was stopped after two shards."
    make_store(folder)
    meta = json.loads((folder/'meta.json').read_text())
    request = {k: v for k, v in meta.items() if k not in ('n_rows', 'shards', 'files', 'sha256')}
    (folder/'progress.json').write_text(json.dumps(dict(request=request, resume={'batch': 4, 'shard': 16}, shards=meta['shards'][:2])))
    for name in ('meta.json', 'texts.jsonl', 'tokens.json', meta['shards'][2]['file']): (folder/name).unlink()

def mutate_half(folder, rng, outside, keep=()):
    "As `mutate`; sometimes the files that a writer writes are there already and lead out."
    if rng.random() < .8: return mutate(folder, rng, outside, keep)
    name = rng.choice(['.lock', 'meta.json', 'texts.jsonl', 'shard-00002.safetensors', f'.progress.json.{os.getpid()}.tmp', f'.meta.json.{os.getpid()}.tmp', '.lock/x'])
    path = folder/name
    path.parent.mkdir(exist_ok=True)
    if rng.random() < .2: os.mkfifo(path)
    else: path.symlink_to(rng.choice([outside/'secret', outside/'new', '/dev/null', path.name]))
    return f'{name} leads out'

@target(make_half, change=mutate_half)
def store_half(folder):
    "Going on with a stopped run: what is not whole is made again, and the store verifies."
    from featgeom.acts import StoreWriter
    good = small_acts()
    request = {**{k: v for k, v in good.meta.items() if k not in ('n_rows', 'shards', 'files')}, 'dtype': 'float32'}
    writer = StoreWriter(folder, request, {'batch': 4, 'shard': 16})
    try:
        for at in range(0, len(good), 16)[writer.done:]: writer.add(good.csr()[at:at + 16], good.rows[at:at + 16])
        acts = writer.finish(good.texts, good.tokens)
    finally:
        if hasattr(writer, 'close'): writer.close()
    need((acts.verify().csr() != good.csr()).nnz == 0, 'the store holds something else')
    outside = folder.parent.parent/'outside'
    need((outside/'secret').stat().st_size == len(SECRET) and not (outside/'new').exists(), 'a writer followed a link out of the store')

# pairs and embeddings

def small_pairs():
    from featgeom.matching import match
    return match(small_acts(400), small_acts(400), k=3, min_fires=5, shifts=3, permutations=19, seed=0, progress=False)

def make_pairs(folder): PAIRS.save(folder/'pairs.safetensors') if PAIRS else small_pairs().save(folder/'pairs.safetensors')

PAIRS = None

@target(make_pairs)
def pairs(folder):
    from featgeom import LinkedMap, Panel
    from featgeom.matching import Pairs
    got = Pairs.load(folder/'pairs.safetensors')
    need(len(repr(got)) < 10**6 and len(got) < 10**6, 'sizes')
    got.table(), got.best(), len(got)
    got.save(folder.parent/'again.safetensors')
    places = seeded(F, 2)
    LinkedMap([Panel(o, places, ['a']*F) for o in 'AB'], got)

def make_embedding(folder):
    from featgeom.embedding import embed
    embed(seeded(30, 5), method='pca').save(folder/'map.safetensors')

@target(make_embedding)
def embedding(folder):
    from featgeom import LinkedMap, Panel
    from featgeom.embedding import Embedding
    got = Embedding.load(folder/'map.safetensors')
    need(len(repr(got)) + len(got.note) < 10**5, 'sizes')
    need(np.isfinite(got.xy[got.kept]).all(), 'places that are not finite')
    got.save(folder.parent/'again.safetensors')
    LinkedMap([Panel('A', got.xy[got.kept], ['a']*int(got.kept.sum()), np.flatnonzero(got.kept), note=got.note)])

# texts

def make_texts(folder):
    texts = TEXTS + ['\u202eRTL\u200b \0 \x1b[31m', '\u2028'*5, 'x'*1000]
    (folder/'a.json').write_text(json.dumps(texts))
    (folder/'b.jsonl').write_text(''.join(json.dumps(dict(text=o)) + '\n' for o in texts))
    (folder/'c.txt').write_text('\n\n'.join(texts))

def use_texts(path):
    from featgeom.texts import read_texts
    got = list(read_texts(path))
    need(got and all(isinstance(o, str) for o in got), 'no texts')
    for o in got: o.encode('utf-8', 'surrogatepass')

@target(make_texts)
def texts(folder):
    from featgeom.core import FeatgeomError
    refused = None
    for path in ('a.json', 'b.jsonl', 'c.txt'):
        try: use_texts(folder/path)
        except FeatgeomError as e: refused = e
    if refused: raise refused

def make_more_texts(folder):
    import gzip, pyarrow as pa, pyarrow.parquet as pq
    pq.write_table(pa.table(dict(text=TEXTS*5, n=list(range(len(TEXTS)*5)))), folder/'a.parquet')
    (folder/'b.jsonl.gz').write_bytes(gzip.compress(''.join(json.dumps(dict(text=o)) + '\n' for o in TEXTS).encode(), mtime=0))

@target(make_more_texts)
def texts_packed(folder):
    from featgeom.core import FeatgeomError
    refused = None
    for path in ('a.parquet', 'b.jsonl.gz'):
        try: use_texts(folder/path)
        except FeatgeomError as e: refused = e
    if refused: raise refused

# other tools' files

def make_parquet(folder):
    from featgeom.exchange import to_parquet
    to_parquet(small_acts(), folder/'x')

def use_acts(acts):
    csr = acts.csr()
    need(np.isfinite(csr.data).all() and csr.shape == acts.shape and len(acts.rows) == len(acts) < 10**6, 'activations that are insane')
    repr(acts)

@target(make_parquet)
def parquet(folder):
    from featgeom.exchange import from_parquet
    use_acts(from_parquet(folder/'x'))

def make_delphi(folder):
    from featgeom.exchange import to_delphi
    to_delphi(small_acts(), folder, module='x', context=6, splits=2)

@target(make_delphi)
def delphi(folder):
    from featgeom.exchange import from_delphi
    use_acts(from_delphi(folder/'x'))

# tokenizers and models

def byte_tokenizer():
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [('t', 'h'), ('th', 'e'), ('Ġ', 'k')]
    vocab = {c: i for i, c in enumerate(['<s>', '<unk>', '</s>', *alphabet, 'th', 'the', 'Ġk'])}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token='<unk>'))
    tok.add_special_tokens(['<s>', '<unk>', '</s>'])
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tok.post_processor = processors.TemplateProcessing(single='<s> $A', special_tokens=[('<s>', 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token='<s>', eos_token='</s>', unk_token='<unk>', pad_token='</s>', model_max_length=32)

def unigram_tokenizer():
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    tok = Tokenizer(models.Unigram([('<unk>', 0.), ('<s>', 0.), ('▁', -2.), *((c, -3.) for c in 'abcdefghijklmnopqrstuvwxyz'), ('▁the', -1.5), *((f'<0x{i:02X}>', -9.) for i in range(256))], unk_id=0, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(' ', '▁')])
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token='<s>', unk_token='<unk>', pad_token='<unk>', model_max_length=32)

def wordpiece_tokenizer():
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', *'abcdefghijklmnopqrstuvwxyz', *('##' + c for c in 'abcdefghijklmnopqrstuvwxyz'), 'the']
    tok = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token='[UNK]'))
    tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, unk_token='[UNK]', pad_token='[PAD]', cls_token='[CLS]', sep_token='[SEP]', model_max_length=32)

def tiny_model(kind='llama'):
    import torch, transformers
    size = dict(vocab_size=320, bos_token_id=0, eos_token_id=2)
    if kind == 'gpt2': config = transformers.GPT2Config(n_positions=32, n_embd=D, n_layer=2, n_head=2, **size)
    else: config = transformers.LlamaConfig(hidden_size=D, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32, **size)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()

HF = {}
SPOKEN = ['the king', '', '\0', 'é\u2028\u202e', '👩‍👩‍👧', 'x'*200, '   ', '</s><s>', 'the '*40]

def use_tokens(lm):
    from featgeom.collecting import token_bytes, tokenizer_fingerprint
    from featgeom.models import token_windows
    windows = list(token_windows(lm, SPOKEN))
    need(all(len(w.ids) == len(w.keep) == len(w.start) <= lm.context for w in windows), 'windows that do not fit')
    for w in windows: need(0 <= w.doc < len(SPOKEN) and (w.end[w.keep] <= len(SPOKEN[w.doc])).all() and (w.start[w.keep] >= 0).all(), 'offsets outside the text')
    ids = sorted({int(i) for w in windows for i in w.ids[w.keep]})
    need(len(token_bytes(lm.tokenizer, ids)) == len(ids), 'token bytes')
    tokenizer_fingerprint(lm.tokenizer, lm.prefix)

def use_tokenizer(folder):
    from featgeom.models import load_model
    if 'llama' not in HF: HF['llama'] = tiny_model()
    lm = load_model(HF['llama'], folder)
    repr(lm)
    use_tokens(lm)

@target(lambda folder: byte_tokenizer().save_pretrained(folder))
def tokenizer_bpe(folder): use_tokenizer(folder)

@target(lambda folder: unigram_tokenizer().save_pretrained(folder))
def tokenizer_unigram(folder): use_tokenizer(folder)

@target(lambda folder: wordpiece_tokenizer().save_pretrained(folder))
def tokenizer_wordpiece(folder): use_tokenizer(folder)

def make_model(kind):
    def make(folder):
        tiny_model(kind).save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
    return make

def use_model(folder):
    import torch
    from featgeom.models import capture, load_model
    lm = load_model(folder, device='cpu')
    need(all(torch.isfinite(o).all() for o in lm.hf.parameters()), 'weights that are not finite')
    need(sum(o.numel() for o in lm.hf.parameters()) < 10**5, 'more weights than the file holds')
    repr(lm), lm.hash
    if sites := lm.sites(): lm.width(sites[-1]), capture(lm, [[0, 1, 2]], sites[:3])

@target(make_model('llama'), keep=('tokenizer.json', 'tokenizer_config.json'))
def model_llama(folder): use_model(folder)

@target(make_model('gpt2'), keep=('tokenizer.json', 'tokenizer_config.json'))
def model_gpt2(folder): use_model(folder)

def make_sharded(folder):
    tiny_model().save_pretrained(folder, max_shard_size='2KB')
    byte_tokenizer().save_pretrained(folder)

@target(make_sharded, keep=('tokenizer.json', 'tokenizer_config.json'))
def model_sharded(folder): use_model(folder)

@target(make_topk)
def space(folder):
    "A feature space of a good model and a mutated SAE: whatever its metadata say of site and BOS."
    from featgeom.models import load_model
    from featgeom.sae import FeatureSpace
    if 'lm' not in HF: HF['lm'] = load_model(tiny_model(), byte_tokenizer())
    got = FeatureSpace.load(HF['lm'], folder)
    repr(got), json.dumps(got.provenance())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        repr(got.health(['the king saw the queen and more']*3, max_tokens=60))

# ---- the worker

def watch(outside, root, found):
    "Record what a reader of files has no business to do: unpickle, open what lies outside, run programs, use the network."
    forbidden = ('pickle.find_class', 'os.system', 'subprocess.Popen', 'os.exec', 'os.posix_spawn', 'socket.connect', 'socket.getaddrinfo', 'os.fork')
    def hook(event, args):
        if not found['on']: return
        if event in forbidden: found['said'].append(f'{event}{str(args)[:100]}')
        elif event == 'open' and isinstance(args[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(args[0]))
            if path.startswith(str(outside)) or path in ('/etc/passwd', '/dev/zero', '/dev/urandom'): found['said'].append(f'open {path}')
            elif isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR) and not path.startswith((str(root), '/tmp', '/dev/')): found['said'].append(f'write {path}')
    sys.addaudithook(hook)

def status(name):
    "A field of /proc/self/status in bytes."
    with open('/proc/self/status') as f: return next((int(o.split()[1])*1024 for o in f if o.startswith(name + ':')), 0)

def make_good(root, names):
    "The good folders of some targets, made once."
    global PAIRS
    for name in names:
        good = root/'good'/name
        if good.exists(): continue
        if TARGETS[name]['make'] is make_pairs and PAIRS is None: PAIRS = small_pairs()
        part = root/'good'/f'.{name}.part'
        part.mkdir(parents=True)
        TARGETS[name]['make'](part) if TARGETS[name]['make'] is not make_store else (part.rmdir(), make_store(part))
        part.rename(good)

def run_case(root, name, number, found):
    "One case: its own folder, one mutation, one visit. Returns (what was done, how it ended, a failure or None)."
    from featgeom.core import FeatgeomError
    rng = random.Random(f'{name} {number}')
    folder, outside = root/'case'/name, root/'outside'
    fresh(root, name)
    what = TARGETS[name]['change'](folder, rng, outside, TARGETS[name]['keep'])
    if sys.platform == 'linux': Path('/proc/self/clear_refs').write_text('5')       # begin a new high-water mark
    before, failure, end = status('VmRSS'), None, 'refused'
    found.update(on=True, said=[])
    signal.setitimer(signal.ITIMER_REAL, SECONDS)                     # no handler: a hang in any language ends the process
    try:
        TARGETS[name]['door'](folder)
        end = 'loaded'
    except FeatgeomError as e:
        try: str(e).encode('utf-8', 'replace')
        except Exception as broken: failure = f'an error that cannot be shown: {broken!r}'
    except BaseException as e:       # panics of Rust libraries are no Exceptions
        where = [o for o in traceback.extract_tb(e.__traceback__) if '/featgeom/' in o.filename or o.filename.endswith('hostile.py')][-1]
        end, failure = 'failed', f'{type(e).__name__} at {Path(where.filename).name}:{where.lineno}: {str(e)[:200]}'
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        found['on'] = False
    grown = status('VmHWM') - before
    if failure is None and grown > SLACK: failure = f'memory grew by {grown/2**20:.0f} MB'
    if (outside/'canary').exists():
        (outside/'canary').rmdir()
        failure = 'a pickle was run'
    if found['said']: failure = '; '.join(found['said'][:3])
    return what, end, failure

def work(root, cases):
    "Run cases [(target, number)] in this process; failures go to `failures`, the place in the list to `at`."
    (root/'outside').mkdir(parents=True, exist_ok=True)
    (root/'outside'/'secret').write_text(SECRET)
    names = sorted({name for name, _ in cases})
    make_good(root, names)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')
    if any(name.startswith(('sae', 'space')) for name in names): import sae_lens.loading.pretrained_sae_loaders     # it takes seconds and asks git for its version
    for name in names: run_good(root, name)            # also warm: libraries load before memory is measured
    found = dict(on=False, said=[])
    watch(root/'outside', root, found)
    if sys.platform == 'linux':
        limit = status('VmSize') + 3*2**30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    at = os.open(root/'at', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with open(root/'failures', 'a') as failures, open(root/'ends', 'a') as ends:
        for i, (name, number) in enumerate(cases):
            os.pwrite(at, f'{i:9}'.encode(), 0)
            what, end, failure = run_case(root, name, number, found)
            print(name, end, file=ends, flush=True)
            if failure: print(json.dumps([name, number, what, failure]), file=failures, flush=True)

def campaign(root, cases, crashes=5):
    """Run cases in a process of their own, which goes on behind a case that ends it; returns (ends {name end: count}, failures).

    A failure is [target, number, what was done, what was wrong]."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, OMP_NUM_THREADS='1', NUMBA_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1')
    left, failures = list(cases), []
    for _ in range(crashes + 1):
        (root/'cases').write_text(json.dumps(left))
        (root/'at').unlink(missing_ok=True)
        with open(root/'log', 'wb') as log: rc = subprocess.run([sys.executable, __file__, 'work', str(root)], stdout=log, stderr=log, env=env).returncode
        if rc == 0: break
        if not (root/'at').exists(): raise RuntimeError((root/'log').read_text()[-3000:])
        at = int((root/'at').read_text())
        how = 'hung' if rc == -signal.SIGALRM else f'ended the process with {rc}'
        failures.append([*left[at], '', how])
        left = left[at + 1:]
    if (root/'failures').exists(): failures += [json.loads(o) for o in (root/'failures').read_text().splitlines()]
    ends = Counter((root/'ends').read_text().splitlines()) if (root/'ends').exists() else Counter()
    return dict(ends), failures

def fresh(root, name):
    "A copy of a good folder in place of the last case."
    shutil.rmtree(root/'case', ignore_errors=True)
    shutil.copytree(root/'good'/name, root/'case'/name)

def run_good(root, name):
    "The untouched folder must load: a door that refuses everything would pass."
    fresh(root, name)
    TARGETS[name]['door'](root/'case'/name)

if __name__ == '__main__':
    root = Path(sys.argv[2])
    if sys.argv[1] == 'work': work(root, json.loads((root/'cases').read_text()))
    else:       # python tests/hostile.py TARGET FOLDER FIRST [COUNT]
        first, count = int(sys.argv[3]), int((sys.argv[4:] or [1])[0])
        ends, failures = campaign(root, [(sys.argv[1], first + i) for i in range(count)])
        print(ends, *failures, sep='\n')
