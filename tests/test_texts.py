"Texts stream from every source in bounded memory, damage is named with its place, and words are chosen as a reader sees them."
from itertools import count
import gzip, json, re, tracemalloc

from hypothesis import given, settings, strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featgeom.core import FeatgeomError
from featgeom.stories import LEXICON, tell
from featgeom.texts import Balanced, balanced, read_texts

DOCS = ['The king.', 'dieciséis\tnoches "quoted"', '👑 and 日本語\nsecond line', '\u202eRTL\u200b', 'a\u2028b\x0bc']


def write(folder, name, docs=DOCS):
    "A file of this name with these documents."
    path, kind = folder/name, [o for o in name.split('.') if o != 'gz'][-1]
    if kind == 'parquet':
        pq.write_table(pa.table(dict(id=range(len(docs)), text=docs)), path, row_group_size=2)
        return path
    text = {'json': json.dumps(docs), 'jsonl': ''.join(json.dumps(dict(text=o, id=7)) + '\n' for o in docs),
            'txt': '\n\n \n'.join(docs) + '\n'}[kind]
    with (gzip.open if name.endswith('.gz') else open)(path, 'wt', encoding='utf-8', newline='\n') as file: file.write(text)
    return path


@pytest.mark.parametrize('name', ['a.json', 'a.jsonl', 'a.txt', 'a.parquet', 'a.jsonl.gz', 'a.txt.gz', 'a.json.gz', 'A.JSONL'])
def test_every_kind_of_file_gives_its_documents(tmp_path, name):
    path = tmp_path/name
    write(tmp_path, name.lower()).rename(path)
    assert list(read_texts(path)) == list(read_texts(str(path))) == DOCS


@given(st.lists(st.text(st.characters(exclude_categories=['Cs']), max_size=30), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_lines_of_json_give_any_text_back(tmp_path_factory, docs):
    folder = tmp_path_factory.mktemp('any')
    kept = [o for o in docs if o.strip()]
    for name in ('a.jsonl', 'a.json', 'a.parquet'):
        if kept: assert list(read_texts(write(folder, name, docs))) == kept
        else:
            with pytest.raises(FeatgeomError, match='no text'): list(read_texts(write(folder, name, docs)))


@given(st.text('ab \n\r\t\u2028', max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_text_file_is_cut_at_blank_lines(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp('txt')/'a.txt'
    path.write_bytes(('x' + raw).encode())
    lines = ('x' + raw).replace('\r\n', '\n').replace('\r', '\n')
    assert list(read_texts(path)) == [o.strip() for o in re.split(r'\n\s*\n', lines) if o.strip()]


def test_windows_files_have_a_mark_and_two_characters_a_line(tmp_path):
    (tmp_path/'a.txt').write_bytes('\ufeffone\r\ntwo\r\n\r\nthree'.encode())
    (tmp_path/'a.jsonl').write_bytes('\ufeff"one"\r\n\r\n"two"\r\n'.encode())
    (tmp_path/'a.json').write_bytes('\ufeff["one"]'.encode())
    assert [list(read_texts(tmp_path/o)) for o in ('a.txt', 'a.jsonl', 'a.json')] == [['one\ntwo', 'three'], ['one', 'two'], ['one']]


def test_a_folder_is_read_by_names_and_nothing_is_left_out_in_silence(tmp_path):
    (tmp_path/'data').mkdir()
    write(tmp_path/'data', 'b.parquet', ['two'])
    write(tmp_path/'data', 'a.jsonl', ['one'])
    write(tmp_path, 'c.txt', ['zero'])
    for aside in ('README.md', '.hidden.pdf', '_SUCCESS'): (tmp_path/aside).write_text('no text of the corpus')
    assert list(read_texts(tmp_path)) == ['zero', 'one', 'two']
    (tmp_path/'d.csv').write_text('a,b')
    with pytest.raises(FeatgeomError, match='d.csv'): read_texts(tmp_path)
    (tmp_path/'empty').mkdir()
    with pytest.raises(FeatgeomError, match='holds no file'): read_texts(tmp_path/'empty')


def test_data_sets_in_memory_streamed_and_saved(tmp_path):
    datasets = pytest.importorskip('datasets')
    data = datasets.Dataset.from_dict(dict(text=DOCS, id=range(len(DOCS))))
    assert list(read_texts(data)) == list(read_texts(data.to_iterable_dataset())) == DOCS
    data.save_to_disk(str(tmp_path/'saved'))
    assert list(read_texts(tmp_path/'saved')) == DOCS
    with pytest.raises(FeatgeomError, match="no column 'txt'.*text"): read_texts(data, column='txt')
    with pytest.raises(FeatgeomError, match='id'): list(read_texts(data, column='id'))
    splits = datasets.DatasetDict(train=data, test=data)
    splits.save_to_disk(str(tmp_path/'splits'))
    for bad in (splits, tmp_path/'splits'):
        with pytest.raises(FeatgeomError, match='split'): read_texts(bad)
    assert list(read_texts(tmp_path/'splits'/'test')) == DOCS


def test_iterables_of_strings_and_dicts_are_never_read_ahead():
    read = []
    source = read_texts(dict(body=read.append(i) or f'day {i}') for i in count())
    with pytest.raises(FeatgeomError, match=r"item 0: dict with body.*nearest|item 0: dict with body.*valid"): next(source)
    source = read_texts((dict(body=read.append(i) or f'day {i}') for i in count()), column='body')
    read.clear()
    assert [next(source), next(source)] == ['day 0', 'day 1'] and read == [0, 1]
    assert list(read_texts(np.array(['one', 'two']))) == ['one', 'two']


@pytest.mark.parametrize('bad, says', [
    ([], 'no text'), (['', ' \n'], 'no text'), ([3], 'item 0: int'), (['a', None], 'item 1: NoneType'), (['a', b'b'], 'item 1: bytes'),
    (3, 'int'), (None, 'NoneType'), (b'a.txt', 'bytes'), ({'train': ['a']}, 'splits'), ('', 'path'), ('a\0.txt', 'path')])
def test_what_is_no_text_is_refused(bad, says):
    with pytest.raises(FeatgeomError, match=says): list(read_texts(bad))


def test_tables_are_not_taken_for_lists_of_their_columns():
    pd = pytest.importorskip('pandas')
    with pytest.raises(FeatgeomError, match='DataFrame'): read_texts(pd.DataFrame(dict(text=['a'])))
    assert list(read_texts(pd.DataFrame(dict(text=['a']))['text'])) == ['a']


@pytest.mark.parametrize('name, data, says', [
    ('a.jsonl', b'"one"\n{"text": "two"\n', r'a.jsonl, line 2 is damaged'), ('a.jsonl', b'"one"\n\n\xff\n', 'line 3 is not UTF-8'),
    ('a.txt', b'one\n\ntw\xe9\n', 'line 3 is not UTF-8'), ('a.json', b'["\xff"]', 'not UTF-8'), ('a.json', b'{"text": "a"}', 'holds a dict'),
    ('a.json', b'"one"\n"two"\n', 'jsonl'), ('a.json', b'["one", 2]', 'item 1: int'), ('a.jsonl', b'{"body": "x"}', 'line 1: dict with body'),
    ('a.jsonl', b'[' * 10**5, 'line 1 is damaged'), ('a.jsonl', b'1' * 5000, 'line 1'), ('a.jsonl', b'null', 'line 1: NoneType'),
    ('a.jsonl.gz', b'no gzip', 'damaged'), ('a.jsonl.gz', gzip.compress(b'"one"\n' * 9**5)[:-20], 'damaged'), ('a.parquet', b'PAR1', 'damaged'),
    ('a.txt', b'', 'no text'), ('a.txt', b'\n \n', 'no text'), ('a.json', b'[]', 'no text'), ('a.pdf', b'x', 'pdf'), ('a', b'x', 'kind|Convert'),
    ('a.gz', b'x', 'Convert')])
def test_damage_is_named_with_its_place(tmp_path, name, data, says):
    (tmp_path/name).write_bytes(data)
    with pytest.raises(FeatgeomError, match=says): list(read_texts(tmp_path/name))


def test_missing_and_unknown_files_are_refused_at_once(tmp_path):
    with pytest.raises(FeatgeomError, match='no such file'): read_texts(tmp_path/'none.jsonl')
    (tmp_path/'a.bin').write_bytes(b'x')
    with pytest.raises(FeatgeomError, match='a.bin'): read_texts(tmp_path/'a.bin')
    (tmp_path/'pipe.txt').unlink(missing_ok=True)
    import os
    if hasattr(os, 'mkfifo'):
        os.mkfifo(tmp_path/'pipe.txt')
        with pytest.raises(FeatgeomError, match='regular'): read_texts(tmp_path/'pipe.txt')


def test_damaged_parquet_and_a_missing_column(tmp_path):
    path = write(tmp_path, 'a.parquet')
    with pytest.raises(FeatgeomError, match="no column 'body'"): list(read_texts(path, column='body'))
    with pytest.raises(FeatgeomError, match='row 0: int'): list(read_texts(path, column='id'))
    pq.write_table(pa.table(dict(text=['a', None])), path)
    with pytest.raises(FeatgeomError, match='row 1: NoneType'): list(read_texts(path))
    data = bytearray(path.read_bytes())
    data[8:40] = bytes(32)
    path.write_bytes(data)
    with pytest.raises(FeatgeomError, match='a.parquet'): list(read_texts(path))


@pytest.mark.parametrize('name', ['a.jsonl', 'a.txt', 'a.jsonl.gz'])
def test_memory_is_that_of_a_document_and_not_of_the_file(tmp_path, name):
    path, n = tmp_path/name, 20_000
    line = 'word ' * 200
    with (gzip.open if name.endswith('.gz') else open)(path, 'wt') as file:
        for i in range(n): file.write(json.dumps(f'{i} {line}') + '\n' if 'jsonl' in name else f'{i} {line}\n\n')
    tracemalloc.start()
    assert sum(1 for _ in read_texts(path)) == n
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6, f'{peak/1e6:.1f} MB for a file of {n*len(line)/1e6:.0f} MB'


def test_parquet_is_read_by_row_groups(tmp_path):
    path = tmp_path/'a.parquet'
    pq.write_table(pa.table(dict(text=['word ' * 200 + str(i) for i in range(20_000)], other=['x' * 1000] * 20_000)), path, row_group_size=500)
    before, most = pa.total_allocated_bytes(), 0
    for _ in read_texts(path): most = max(most, pa.total_allocated_bytes() - before)
    assert most < 5e6, f'{most/1e6:.1f} MB'


def test_a_packed_file_with_a_long_tail_of_zeros_is_refused_at_once(tmp_path):
    path = write(tmp_path, 'a.jsonl.gz')
    with open(path, 'ab') as file: file.write(bytes(100))                            # padding, as on tapes
    assert list(read_texts(path)) == DOCS
    with open(path, 'ab') as file: file.truncate(2**36)
    with pytest.raises(FeatgeomError, match='ends in zeros'): list(read_texts(path))


def test_a_sparse_file_is_refused_and_not_held(tmp_path, monkeypatch):
    import featgeom.texts as X
    monkeypatch.setattr(X, '_LONGEST', 1000)
    (tmp_path/'a.jsonl').write_bytes(b'"one"\n' + bytes(10**6))
    (tmp_path/'a.txt').write_bytes(b'one\n' * 500)
    for name in ('a.jsonl', 'a.txt'):
        with pytest.raises(FeatgeomError, match='more than 1,000 characters'): list(read_texts(tmp_path/name))


# --- balanced ---------------------------------------------------------------------------------------------------------------------

def naive_count(word, text):
    "Occurrences of an ASCII word by a loop over places: not next to a letter, digit or underscore."
    found, at = 0, text.find(word)
    while at >= 0:
        sides = text[at - 1:at] + text[at + len(word):at + len(word) + 1]
        if not any(o.isalnum() or o == '_' for o in sides): found, at = found + 1, at + len(word) - 1
        at = text.find(word, at + 1)
    return found


@given(st.lists(st.text('ab_ .9', min_size=1, max_size=25).filter(str.strip), min_size=1, max_size=12),
       st.lists(st.sampled_from(['a', 'b', 'ab', 'ba', 'aa', 'a9', 'a_b', '9']), min_size=1, max_size=5, unique=True), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_the_choice_equals_a_loop(texts, words, cap):
    got = balanced(texts, words, cap)
    have, documents, read = dict.fromkeys(words, 0), [], 0
    for text in texts:
        read += 1
        times = {o: naive_count(o, text) for o in words}
        if any(times[o] and have[o] < cap for o in words):
            documents.append(text)
            for o in words: have[o] += times[o]
        if all(n >= cap for n in have.values()): break
    assert got.documents == documents and got.read == read and dict(zip(got.words, got.counts)) == have
    assert got.short == [o for o in words if have[o] < cap]
    assert got.ended == ('end of texts' if got.short else 'caps reached')
    seen = {o: sum(naive_count(o, text) for text in texts[:read]) for o in words}
    np.testing.assert_allclose(got.expected, [seen[o]*len(documents)/read for o in words])


def test_every_concept_reaches_the_cap_and_reading_stops():
    texts, read = tell(8000, seed=3), []
    got = balanced((read.append(o) or o for o in texts), LEXICON, cap=15)
    assert got.ended == 'caps reached' and not got.short and got.read == len(read) < 8000
    assert got.words == [o for words in LEXICON.values() for o in words] and len({*got.concepts}) == len(LEXICON)
    together = ' '.join(got.documents)
    for word, n in zip(got.words, got.counts): assert n == len(re.findall(rf'\b{word}\b', together)) >= 15
    assert [texts[i] for i in got.index] == got.documents
    assert got.expected.min() < 15 < got.expected.max()


def count_in(word, text, case=True):
    got = balanced([text, 'zzz'], [word, 'zzz'], cap=10**6, case=case)
    return int(got.counts[0])


@pytest.mark.parametrize('word, text, times', [
    ('king', 'talking kings Kinging', 0), ('king', 'a king, the king. (king) king-size king’s', 5), ('king', 'king_x x2king', 0),
    ('.*', 'anything', 0), ('.*', 'a .* b', 1), ('a|b', 'a b', 0), ('(', 'f(x)', 1), ('[a', 'x [a] \\', 1), ('\\d', 'a 1 \\d', 1), ('C++', 'C++ C', 1),
    ('$5', 'US$5 $50', 1), ('New York', 'New\n  York New Yorker', 1), ('York', 'New York', 1), ('  New   York ', 'New York', 1),
    ('café', 'cafe\u0301 cafés', 1), ('cafe', 'café cafe\u0301', 0), ('हिन', 'हिन्दी', 0), ('हिन्दी', 'हिन्दी में', 1), ('می', 'می\u200cخواهم', 0),
    ('王', '国王', 1), ('ราชา', 'พระราชา', 1), ('キング', 'ハッキング キングは', 1), ('👑', 'x👑y', 1), ('ха', 'ха-ха уха', 2), ('один', 'одинокий один', 1)])
def test_words_are_whole_and_literal(word, text, times): assert count_in(word, text) == times


@pytest.mark.parametrize('word, text, times', [('May', 'may MAY May', 3), ('straße', 'STRASSE', 1), ('ΣΟΦΟΣ', 'σοφος σοφοσ', 2), ('i', 'I ı', 1)])
def test_case_may_be_left_out(word, text, times):
    assert count_in(word, text, case=False) == times and count_in('May', 'may MAY May') == 1


def test_a_bound_on_documents_and_what_fell_short():
    got = balanced(['a b', 'c', 'a', 'd d'], dict(x=['a', 'q'], y='d'), cap=2, max_documents=2)
    assert (got.documents, got.index.tolist(), got.ended, got.short) == (['a b', 'a'], [0, 2], 'max_documents', ['q', 'd'])
    table = got.table()
    assert table.to_dict('list') == dict(concept=['x', 'x', 'y'], word=['a', 'q', 'd'], count=[2, 0, 0], expected=[4/3, 0, 0], short=[False, True, True])
    assert 'Balanced(' in repr(got) and isinstance(got, Balanced)


def test_a_word_may_belong_to_two_concepts_and_is_counted_once_each():
    got = balanced(['once upon'], dict(spanish=['once'], tales=['once']), cap=1)
    assert got.counts.tolist() == [1, 1] and got.ended == 'caps reached'


def test_nothing_found_is_a_result_and_not_an_error():
    got = balanced(['abc'], ['x'])
    assert (got.documents, len(got.index), got.read, got.short) == ([], 0, 1, ['x'])
    got.plot()


@pytest.mark.parametrize('words, kw, says', [([], {}, 'No words'), ({}, {}, 'No words'), (['a', ' '], {}, "' ' among"), (['a', 3], {}, '3 among'), ('king', {}, "words='king'"),
                                             (['a', 'a'], {}, 'twice'), (['New York', 'New  York'], {}, 'same word'), (['é', 'e\u0301'], {}, 'same word'),
                                             (['May', 'may'], dict(case=False), 'case=True'), (5, {}, 'words=5'), (['a'], dict(cap=0), 'cap=0'),
                                             (['a'], dict(cap=1.5), 'cap=1.5'), (['a'], dict(max_documents=0), 'max_documents=0')])
def test_bad_requests_are_named(words, kw, says):
    with pytest.raises(FeatgeomError, match=re.escape(says)): balanced(['a'], words, **kw)


def test_it_reads_files_itself(tmp_path):
    assert balanced(write(tmp_path, 'a.jsonl'), ['king'], cap=1).documents == ['The king.']
