"Pages of the dashboard's renderer from plain lists, packed by hand: what the browser is tested on, apart from the Python that makes real ones."
import numpy as np, traitlets

from featgeom.widget import Widget, pack, unpack

STRATA = [('top', 'Top'), ('q4', 'Highest quarter'), ('q3', 'Third quarter'), ('q2', 'Second quarter'), ('q1', 'Lowest quarter'), ('near zero', 'Near zero'),
          ('random', 'Random'), ('silent', 'Silent')]
NULLS = dict(score='95 % of the best of 20 partners picked the same way from shifted documents stay below.', cosine='95 % of random directions.',
             jaccard='95 % of shifts overlap no more.')

class Dash(Widget):
    "The renderer over a payload that is packed here."
    _module, _height = 'dashboard.js', 900
    focus = traitlets.List().tag(sync=True)
    bookmarks = traitlets.List().tag(sync=True)
    notes = traitlets.List().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    link = traitlets.Unicode().tag(sync=True)

def units(text): return len(text.encode('utf-16-le', 'surrogatepass'))//2

def cut(pieces, gap=()):
    """A passage from its tokens: text, spans in UTF-16 units, and what is odd. `(string, shown)` is one piece of a split character: its
    text is the whole character, and the next piece has the same place. A piece in `gap` belongs to no row."""
    text, spans, odd = '', [], {}
    for i, piece in enumerate(pieces):
        if isinstance(piece, tuple):
            char, shown = piece
            again = i and isinstance(pieces[i-1], tuple) and pieces[i-1][0] == char
            start = spans[-1][0] if again else units(text)
            if not again: text += char
            odd[str(len(spans))] = shown
            spans.append((start, units(char)))
            continue
        if i not in gap: spans.append((units(text), units(piece)))
        text += piece
    return dict(text=text, spans=spans, odd=odd)

def chunk(passages):
    "The blob of some passages."
    starts = [np.diff([0, *(s for s, _ in p['spans'])]) for p in passages]
    arrays = dict(rows=np.array([len(p['spans']) for p in passages], np.uint16), step=np.concatenate([*starts, []]).astype(np.uint16),
                  size=np.array([w for p in passages for _, w in p['spans']], np.uint16))
    return pack(arrays, dict(passages=[dict(text=p['text'], doc=p.get('doc', i), part=p.get('part', 0), parts=p.get('parts', 1), odd=p['odd'])
                                       for i, p in enumerate(passages)]))

def side(s, space, id, acts, labels=('',), given=(), signed=False, few=20, **more):
    """Meta, arrays and examples of a feature. `acts`: one array of activations for each passage."""
    rows = [(d, r, float(v)) for d, a in enumerate(acts) for r, v in enumerate(a) if v]
    values = np.array([v for *_, v in rows])
    order = sorted(rows, key=lambda o: -abs(o[2]))
    parts = [order[:few], *np.array_split(np.arange(len(order)), 4), order[-3:], order[3:8], [(d, 1, 0.) for d, a in enumerate(acts) if not np.any(a) and len(a) > 1][:5]]
    parts = [[order[int(i)] for i in p[:3]] if isinstance(p, np.ndarray) else p for p in parts]
    examples, strata = [], []
    for i, p in enumerate(parts):
        low, high = (min(o[2] for o in p), max(o[2] for o in p)) if p else (None, None)
        strata.append([i, len(examples), len(examples) + len(p), low, high])
        examples += p
    top = float(np.abs(values).max()) if len(values) else 0.
    n, total = len(values), sum(map(len, acts))
    counts, edges = np.histogram(values, 48, (min(0, values.min()), values.max())) if n else (np.zeros(48, int), [0, 0])
    stats = dict(count=n, rate=n/total, mean=float(values.mean()) if n else None, sd=float(values.std()) if n else None, max=top if n else None, skew=11.2 if n else None,
                 kurtosis=153. if n else None, zero_skew=12.1 if n else None, zero_kurtosis=160.4 if n else None, decoder_norm=.98, capacity=.31)
    meta = dict(space=space, id=id, labels=[dict(text=t, source=o) for t, o in labels] if labels and isinstance(labels[0], tuple) else [dict(text=t, source='auto') for t in labels],
                tokens=[], entropy=1.2 if n else None, n_tokens=12, stats=stats, dead=not n, rare=0 < n < 50, low=float(edges[0]), high=float(edges[-1]), max=top, logits=None,
                near=dict(cosine=[], cosine_chance=.31, cofire=[]), partners=[], strata=strata) | more
    unit = (127 if signed else 255)/(top or 1)
    arrays = {f'hist{s}': counts.astype(np.uint32), f'knots{s}': np.quantile(values, np.linspace(0, 1, 33)).astype(np.float32) if n else np.full(33, np.nan, np.float32),
              f'ex_doc{s}': np.array([d for d, *_ in examples], np.uint16), f'ex_row{s}': np.array([r for _, r, _ in examples], np.uint16),
              f'ex_val{s}': np.array([v for *_, v in examples], np.float32), f'n{s}': np.array([np.count_nonzero(a) for a in acts], np.uint16),
              f'row{s}': np.array([r for a in acts for r in np.flatnonzero(a)], np.uint16),
              f'act{s}': np.array([np.rint(v*unit) for a in acts for v in a if v], np.int8 if signed else np.uint8)}
    return meta, arrays

def entry(sides, passages, pair=None, scatter=None, scatter_arrays=None):
    "(arrays, meta) of an entry whose passages are the numbers in `passages`; `sides` by space, A first, or one of them."
    arrays = dict(doc=np.array(passages, np.uint32)) | (scatter_arrays or {})
    for _, a in sides: arrays |= a
    ids = [o['id'] for o, _ in sides]
    return arrays, dict(a=ids[0], b=ids[1] if len(ids) > 1 else -1, sides=[o for o, _ in sides], pair=pair, scatter=scatter)

SIDE = dict(hist=(48, np.uint32), knots=(33, np.float32), ex_doc=(0, np.uint16), ex_row=(0, np.uint16), ex_val=(0, np.float32), n=(0, np.uint16), row=(0, np.uint16), act=(0, np.uint8))

def bundle(entries):
    "The blob of some entries; None for one that is not there."
    some = [o or ({}, None) for o in entries]
    def joined(name, kind): return np.concatenate([np.empty(0, kind), *(a[name] for a, _ in some if name in a)]).astype(kind)
    arrays = dict(docs=np.array([len(a.get('doc', [])) for a, _ in some], np.uint32), doc=joined('doc', np.uint32))
    for s in (0, 1):
        if not any(f'hist{s}' in a for a, _ in some): continue
        arrays[f'ex{s}'] = np.array([len(a.get(f'ex_doc{s}', [])) for a, _ in some], np.uint16)
        for name, (_, kind) in SIDE.items():
            if name == 'act': kind = next(a[f'act{s}'].dtype for a, _ in some if f'act{s}' in a)
            if name == 'n':
                parts = [a.get(f'n{s}', np.zeros(len(a.get('doc', [])), np.uint16)) for a, _ in some]
                arrays[f'n{s}'] = np.concatenate(parts).astype(np.uint16)
            else: arrays[f'{name}{s}'] = joined(f'{name}{s}', kind)
    points = [a for a, told in some if told and told['scatter']]
    if points:
        arrays |= dict(points=np.array([len(a['sx']) for a in points], np.uint16), **{o: np.concatenate([a[o] for a in points]) for o in ('sx', 'sy', 'hx', 'hy')})
    return pack(arrays, dict(entries=[told for _, told in some]))

def apart(blobs):
    "(arrays, meta) of every entry in some bundles, its features counted as its sides: what entryOf does in the page."
    out = []
    for arrays, meta in map(unpack, blobs):
        def cut(name, counts, k): return arrays[name][sum(counts[:k]):sum(counts[:k + 1])]
        entries, docs = meta['entries'], arrays['docs'].tolist()
        for k, told in enumerate(entries):
            if told is None:
                out.append(None)
                continue
            mine = dict(doc=cut('doc', docs, k))
            first = sum(docs[:k])
            for side, s in enumerate([s for s, id in enumerate((told['a'], told['b'])) if id >= 0]):
                there = [o is not None and o['ab'[s]] >= 0 for o in entries]
                for name in ('hist', 'knots'): mine[f'{name}{side}'] = arrays[f'{name}{s}'].reshape(sum(there), -1)[sum(there[:k])]
                for name in ('ex_doc', 'ex_row', 'ex_val'): mine[f'{name}{side}'] = cut(f'{name}{s}', arrays[f'ex{s}'].tolist(), k)
                n = arrays[f'n{s}'].tolist()
                inside = slice(sum(n[:first]), sum(n[:first + docs[k]]))
                mine |= {f'n{side}': arrays[f'n{s}'][first:first + docs[k]], f'row{side}': arrays[f'row{s}'][inside], f'act{side}': arrays[f'act{s}'][inside]}
            if told['scatter']:
                rank, points = sum(o is not None and bool(o['scatter']) for o in entries[:k]), arrays['points'].tolist()
                mine |= {o: cut(o, points, rank) for o in ('sx', 'sy')} | {o: arrays[o].reshape(len(points), -1)[rank] for o in ('hx', 'hy')}
            out.append((mine, told))
    return out

def read_text(text, sides):
    "The blob of a text: sides of (space, tokens, spans, ids (n, k), values, labels, max, focus or None)."
    arrays, meta = {}, []
    for s, (space, tokens, spans, ids, values, labels, top, focus) in enumerate(sides):
        spans = np.array(spans, np.uint32).reshape(-1, 2)
        arrays |= {f'start{s}': spans[:, 0].copy(), f'size{s}': spans[:, 1].copy(), f'top_id{s}': np.array(ids, np.int32), f'top_val{s}': np.array(values, np.float32)}
        if focus is not None: arrays[f'focus{s}'] = np.array(focus, np.float32)
        meta.append(dict(space=space, tokens=tokens, labels=labels, max=top))
    return pack(arrays, dict(text=text, sides=meta))

def page(spaces, listed, blobs, passages, prompts=(), live_text=False, numbers=None, size=16, many=16):
    "The payload: entries as listed, what is in them (None where not in the page), passages, prompts of (title, blob)."
    numbers = list(range(len(passages))) if numbers is None else numbers
    bundles = [bundle(blobs[i:i+many]) for i in range(0, len(blobs), many)]
    parts = [*bundles, *(chunk(passages[i:i+size]) for i in range(0, len(passages), size)), *(b for _, b in prompts)]
    meta = dict(version=1, spaces=spaces, strata=[dict(name=n, title=t) for n, t in STRATA], entries=listed, passages=numbers, chunk=size, bundle=many,
                prompts=[dict(title=t) for t, _ in prompts], nulls=NULLS, live_text=live_text)
    return outer(parts, [o is not None for o in blobs], meta)

def outer(parts, there, meta):
    "The outer container: parts end to end, where each begins, which entries are there, and what the page knows from the start."
    head, blob = (np.frombuffer(o, np.uint8) for o in (pack({}, meta), b''.join(parts)))
    at = np.cumsum([0, *map(len, parts)]).astype(np.uint32)
    return pack(dict(head=head, blob=blob, at=at, there=np.array(there, bool)), level=None)

def opened(data):
    "Back from a payload: (meta, (arrays, meta) of the entries, blobs of chunks and prompts)."
    arrays, _ = unpack(data)
    meta, at = unpack(arrays['head'].tobytes())[1], arrays['at'].tolist()
    parts = [arrays['blob'][a:b].tobytes() for a, b in zip(at, at[1:])]
    bundles = -(-len(meta['entries'])//meta['bundle'])
    return meta, apart(parts[:bundles]), parts[bundles:]

def space(name, n=1000, f=64, rows='tokens', no_logits=''): return dict(name=name, rows=rows, n=n, f=f, note='', no_logits=no_logits)
