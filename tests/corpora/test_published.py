"""Every source of the paper and of the other recipes, from a file in its published form to the pairs it makes.

The files below tests/fixtures/sources are named as in the data sets, on the hub by their ids; the text is our own.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedro.config import OmegaConfigLoader

from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.rows import check_sources
from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.errors import DataError
from ruri_kedro.mining.examples import StageRecipe
from ruri_kedro.mining.negatives import ChoiceRules, Window
from ruri_kedro.settings import CONFIG_LOADER_ARGS
from ruri_kedro.tables import SCHEMAS, write_table

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED = REPOSITORY / "tests/fixtures/sources"

TABLE_1 = [
    "wikipedia_1p", "wikipedia_3p", "wikipedia_long", "wiktionary", "wikibooks", "mqa", "cc_news_long",
    "cc_news_short", "autowikiqa_mx", "autowikiqa_nemo", "jrc", "wiki_atomic_edits", "autowikinli", "jsnli",
]  # fmt: skip
TABLE_3 = [
    "jsquad", "autowikiqa_nemo", "jaquad", "quiz_no_mori", "quiz_works", "jqara", "miracl", "mr_tydi", "mkqa",
]  # fmt: skip
TABLE_4 = ["quiz_no_mori", "quiz_works", "jqara", "miracl", "mr_tydi"]
TABLE_8 = [*TABLE_4, "nu_snli", "nu_mnli", "janli"]

# Anchor (none in a collection), positive (none where it is mined), given negatives, answers.
EXPECTED = {
    "wikipedia_1p": [
        ("青葉山", "青葉山は、若狭にある山である。"),
        ("青葉山 地理", "二つの峰が並ぶ。"),
        ("青葉山 地理", "東の峰が高い。"),
        ("青葉山 地理", "西は険しい。"),
        ("青葉山 地理", "北は海だ。"),
        ("青葉山 歴史", "信仰の山。"),
        ("耳川", "耳川は、若狭を流れる川である。"),
        ("耳川 流域", "下流に町がある。"),
    ],
    "wikipedia_3p": [
        ("青葉山", "青葉山は、若狭にある山である。"),
        ("青葉山 地理", "二つの峰が並ぶ。 東の峰が高い。 西は険しい。"),
        ("青葉山 地理", "北は海だ。"),
        ("青葉山 歴史", "信仰の山。"),
        ("耳川", "耳川は、若狭を流れる川である。"),
        ("耳川 流域", "下流に町がある。"),
    ],
    "wikipedia_long": [
        ("青葉山", "青葉山は、若狭にある山である。"),
        ("青葉山", "二つの峰が並ぶ。 東の峰が高い。 西は険しい。 北は海だ。 信仰の山。"),
        (
            "青葉山は、若狭にある山である。",
            "二つの峰が並ぶ。 東の峰が高い。 西は険しい。 北は海だ。 信仰の山。",
        ),
        ("耳川", "耳川は、若狭を流れる川である。"),
        ("耳川", "下流に町がある。"),
        ("耳川は、若狭を流れる川である。", "下流に町がある。"),
    ],
    "wiktionary": [
        ("山", "高く盛り上がった土地。 古い言葉に由来する。"),
        ("川", "水が集まって流れるところ。"),
    ],
    "wikibooks": [
        ("料理の本 味噌汁", "だしを取る。"),
        ("料理の本 味噌汁", "味噌を溶く。"),
        ("料理の本 味噌汁", "火を止める。"),
        ("料理の本 味噌汁", "椀に注ぐ。"),
        ("料理の本", "まえがき。"),
        ("将棋の本 駒", "駒は八種類ある。"),
    ],
    "mqa": [
        ("自転車の直し方を教えて", "まず鎖を見ます。"),
        ("自転車の直し方を教えて", "空気を入れます。"),
        ("返品はできますか?", "到着から七日以内なら、できます。"),
        ("送料は?", "全国一律です。"),
        ("図書館は何時までですか。", "午後七時までです。"),
    ],
    "cc_news_long": [
        ("町に新しい橋", "町に新しい橋が架かった。式には多くの人が集まった。橋は川の両岸を結ぶ。"),
        ("雪の予報", "週末は雪になる。"),
    ],
    "cc_news_short": [
        ("橋は川の両岸を結ぶ。", "式には多くの人が集まった。"),
    ],
    "autowikiqa_mx": [
        ("耳川の長さは何キロか。", "耳川 耳川は若狭を流れる。長さは三十キロである。", (), ("三十キロ",)),
        ("耳川はどこを流れるか。", "耳川 耳川は若狭を流れる。長さは三十キロである。", (), ("若狭",)),
        ("青葉山の形は?", "青葉山 青葉山は双耳峰である。", (), ("双耳峰",)),
    ],
    "autowikiqa_nemo": [
        ("白糸滝では何が落ちますか。", "白糸滝 白糸滝は岩の間から水が落ちる。", (), ("水",)),
        ("水はどこから落ちますか。", "白糸滝 白糸滝は岩の間から水が落ちる。", (), ("岩の間",)),
        ("砂丘は何が作りますか。", "砂丘 砂丘は風が作る。", (), ("風",)),
    ],
    "jrc": [
        ("洪水の備え 1 はじめに", "川の近くに住む人に尋ねた。 備えは進んでいない。"),
        ("洪水の備え 2 方法", "五百人に手紙を送った。"),
        ("句読点の研究 考察", "点は息継ぎである。"),
    ],
    "wiki_atomic_edits": [
        ("川は長く、深い。", "川は深い。"),
        ("山は高い。", "山はとても高い。"),
        ('彼は"町"へ行った。', '彼は昨日"町"へ行った。'),
    ],
    "autowikinli": [
        ("耳川は若狭を流れる。", "若狭には川がある。", ("若狭に川はない。",)),
        ("橋は石でできている。", "橋の材料は石である。", ("橋は木でできている。",)),
        ("塔は三階建てである。", "塔には三つの階がある。", ("塔は平屋である。",)),
        ("船は港に着いた。", "港に船がいる。", ("船は沈んだ。",)),
    ],
    "jsnli": [
        ("犬が庭を走る。", "動物が走っている。", ("犬は寝ている。",)),
        ("女がA 4の紙を持つ。", "紙がある。"),
    ],
    "jsquad": [
        ("灯台はどこに立つか", "灯台 灯台は岬に立つ塔である。夜に光を放つ。", (), ("岬",)),
        ("灯台はいつ光るか", "灯台 灯台は岬に立つ塔である。夜に光を放つ。", (), ("夜",)),
    ],
    "jaquad": [
        ("和紙は何から作るか?", "和紙 和紙は木の皮から作る。 千年もつといわれる。", (), ("木の皮",)),
        ("和紙は何年もつか?", "和紙 和紙は木の皮から作る。 千年もつといわれる。", (), ("千年",)),
        ("漆とは何の樹液か?", "漆 漆は木の樹液である。", (), ("木",)),
    ],
    "quiz_no_mori": [
        ("日本で最も高い山は何でしょう?", None, (), ("富士山", "ふじさん")),
        ("将棋の駒は何種類でしょう?", None, (), ("8種類",)),
    ],
    "quiz_works": [
        ("水が氷になる温度は摂氏何度?", None, (), ("0度", "零度")),
        ("一年は何か月?", None, (), ("12か月",)),
        ("虹は何色?", None, (), ("七色",)),
    ],
    "jqara": [
        ("俳句は何音からなる?", "俳句 俳句は十七音からなる詩である。", (), ("十七音",)),
        ("琵琶湖があるのは何県?", "琵琶湖 琵琶湖は滋賀県にある湖である。", (), ("滋賀県",)),
    ],
    "miracl": [
        ("潮の満ち引きはなぜ起こる?", "潮汐 潮は月の引力で満ち引きする。", ("潮汐表は港で配られる。",)),
        ("潮の満ち引きはなぜ起こる?", "月 月は海の水を引く。", ("潮汐表は港で配られる。",)),
        ("鳥はなぜ飛べる?", "鳥 鳥の骨は軽い。"),
    ],
    "mr_tydi": [
        ("最初の時計は何で時を測った?", "日時計 最初の時計は影で時を測った。"),
        ("石炭は何からできる?", "石炭 石炭は植物からできる。"),
        ("石炭は何からできる?", "植物 植物は長い間に石炭になる。"),
    ],
    "mkqa": [
        ("源氏物語の作者は誰ですか", None, (), ("紫式部",)),
        ("ナイル川の長さはどれくらいですか", None, (), ("6650.0 キロメートル", "6650 km")),
    ],
    "jawiki_passages": [
        (None, "青葉山 青葉山は、若狭にある山である。"),
        (None, "青葉山 地理 二つの峰が並ぶ。 東の峰が高い。 西は険しい。"),
        (None, "青葉山 地理 北は海だ。"),
        (None, "青葉山 歴史 信仰の山。"),
        (None, "耳川 耳川は、若狭を流れる川である。"),
        (None, "耳川 流域 下流に町がある。"),
        (None, "山 高く盛り上がった土地。"),
        (None, "山 語源 古い言葉に由来する。"),
        (None, "川 水が集まって流れるところ。"),
        (None, "料理の本 味噌汁 だしを取る。 味噌を溶く。 火を止める。"),
        (None, "料理の本 味噌汁 椀に注ぐ。"),
        (None, "料理の本 まえがき。"),
        (None, "将棋の本 駒 駒は八種類ある。"),
    ],
    "miracl_passages": [
        (None, "潮汐 潮は月の引力で満ち引きする。"),
        (None, "潮汐 潮汐表は港で配られる。"),
        (None, "砂 砂は細かい石である。"),
        (None, "月 月は海の水を引く。"),
        (None, "鳥 鳥の骨は軽い。"),
    ],
    "mr_tydi_passages": [
        (None, "日時計 最初の時計は影で時を測った。"),
        (None, "日時計 庭に置かれることが多い。"),
        (None, "石炭 石炭は植物からできる。"),
    ],
    "nu_snli": [
        ("子供が砂場で遊んでいる。", "子供が外にいる。", ("子供が眠っている。",)),
    ],
    "nu_mnli": [
        ("会議は昨日終わった。", "会議は終わっている。", ("会議は明日である。",)),
        ("店は閉まった。", "店は開いていない。"),
    ],
    "janli": [
        ("医者が走る学生を見た", "医者が学生を見た", ("医者が走る",)),
    ],
}

OTHERS = {  # what JaColBERT, Japanese SimCSE, Fio and ru-en-RoSBERTa train on
    "mmarco": {"kind": "pair", "path": "mmarco/*.tsv", "shape": "triples"},
    "jnli": {
        "kind": "premise_to_hypothesis",
        "path": "jnli/train-v1.3.json",
        "fields": {"premise": "sentence1", "hypothesis": "sentence2"},
    },
    "jsnli_file": {
        "kind": "premise_to_hypothesis",
        "path": "jsnli_1.1/train_w_filtering.tsv",
        "header": ["label", "premise", "hypothesis"],
        "segmented": True,
    },
    "cc100": {"kind": "sentence", "path": "cc100/ja.txt.gz", "filter": {"language": "ja"}},
    "wiki40b": {"kind": "sentence", "hub": {"id": "wiki40b"}},
    "cirrus_sentences": {"kind": "sentence", "path": "cirrus/*.json.gz", "shape": "cirrus"},
    "cirrus_abstracts": {"kind": "abstract_and_body", "path": "cirrus/*.json.gz", "shape": "cirrus"},
    "extracted": {
        "kind": "title_to_text",
        "path": "extracted/*/wiki_*",
        "shape": "wikiextractor",
        "unfold": ["paragraphs"],
        "fields": {"section": "paragraphs.title", "text": "paragraphs.text"},
        "paragraphs": 2,
    },
    "russian_titles": {"kind": "title_to_text", "path": "ru/pairs.csv", "filter": {"language": "ru"}},
    "russian_triplets": {
        "kind": "pair",
        "path": "ru/triplets.parquet",
        "fields": {"anchor": "query", "positive": "pos", "negatives": "neg"},
    },
}

EXPECTED_OF_OTHERS = {
    "mmarco": [
        ("城は何の上に立つか", "城は石垣の上に立つ。", ("畑では麦が実る。", "堀には水が張られた。")),
        ("塩はどこから採れるか", "塩は海から採れる。", ("堀には水が張られた。",)),
    ],
    "jnli": [("皿に魚がのっている。", "魚が皿にある。", ("皿は空である。",))],
    "jsnli_file": [("犬が庭を走る。", "動物が走っている。", ("犬は寝ている。",))],
    "cc100": [("今日は晴れている。", "今日は晴れている。"), ("明日は雨が降るそうだ。", "明日は雨が降るそうだ。")],
    "wiki40b": [("一つ目の文である。", "一つ目の文である。"), ("二つ目の文である。", "二つ目の文である。")],
    "cirrus_sentences": [
        ("岬は海に突き出た陸である。", "岬は海に突き出た陸である。"),
        ("灯台が立つことが多い。", "灯台が立つことが多い。"),
    ],
    "cirrus_abstracts": [
        ("岬", "岬は海に突き出た陸である。"),
        ("岬", "灯台が立つことが多い。"),
        ("岬は海に突き出た陸である。", "灯台が立つことが多い。"),
    ],
    "extracted": [("岬", "岬は海に突き出た陸である。"), ("岬 特徴", "灯台が立つことが多い。 風が強い。")],
    "russian_titles": [
        ("Байкал, озеро", "Байкал — самое глубокое озеро на Земле."),
        ("Волга", "Волга впадает в Каспийское море."),
    ],
    "russian_triplets": [
        ("столица России", "Москва — столица России.", ("Нева — река.", "Омск — город.")),
        ("what is a lake", "A lake is a body of water."),
    ],
}


def parameters(**runtime) -> dict:
    return OmegaConfigLoader(
        conf_source=str(REPOSITORY / "conf"), env="ruri", runtime_params=runtime, **CONFIG_LOADER_ARGS
    )["parameters"]


def published(rows: dict, root: Path = PUBLISHED) -> dict[str, Source]:
    """The sources, with the copies below `root` in place of the data sets on the hub."""
    return {
        name: replace(source, hub=tuple(replace(hub, id=str(root / hub.id)) for hub in source.hub))
        for name, source in parse_sources(rows).items()
    }


PAPER = published(parameters()["sources"])
RULES = ChoiceRules(Window(30, 100), n=63, fill=False, mine_window=None, max_mined=1, min_answer_chars=2)
SOURCES = PAPER | published(OTHERS)


@pytest.mark.parametrize("name", SOURCES)
def test_a_published_file_becomes_exactly_these_pairs(name):
    found = []
    for _, draft in drafts(SOURCES[name], PUBLISHED):
        texts = [text.full if text else None for text in (draft.anchor, draft.positive)]
        found.append((*texts, tuple(text.full for text in draft.negatives), draft.answers))
    rows = (EXPECTED | EXPECTED_OF_OTHERS)[name]
    assert found == [(*row, *((), ())[len(row) - 2 :]) for row in rows]


@pytest.mark.parametrize("name", SOURCES)
def test_its_tables_fit_their_schemas(name, tmp_path):
    source = {name: SOURCES[name]}
    passages = write_table(tmp_path / "passages", SCHEMAS["passages"], passage_parts(source, PUBLISHED))
    known = {row["docid"] for row in passages.iter_rows()}
    pairs = write_table(tmp_path / "pairs", SCHEMAS["pairs"], pair_parts(source, PUBLISHED))
    assert pairs.parts() == ([] if source[name].kind == "collection" else [name])
    for row in pairs.iter_rows():
        assert {row["anchor"], *row["given_negatives"]} <= known and row["positive"] in known | {""}


@pytest.mark.parametrize("name", ["miracl", "miracl_passages", "jawiki_passages", "wiktionary", "wikibooks"])
def test_tests_and_other_dumps_that_lie_beside_are_not_read(name, tmp_path):
    """As below data/01_raw/ruri, where the task miracl has its files, and on the hub, where dumps are folders."""
    root = shutil.copytree(PUBLISHED, tmp_path / "sources")
    for kind in ("topics", "qrels"):
        folder = root / "miracl/miracl-v1.0-ja" / kind
        shutil.copy(folder / f"{kind}.miracl-v1.0-ja-train.tsv", folder / f"{kind}.miracl-v1.0-ja-dev.tsv")
    (root / "miracl/miracl_hard_negs_1000.json").write_text('{"1": ["a"]}\n')
    for dump in ("jawiki-wiktionary", "jawiki-books"):
        older = shutil.copytree(root / "hpprc" / dump / "2024-04-01", root / "hpprc" / dump / "2023-01-01")
        table = pq.read_table(next(older.iterdir()))
        titles = pa.array([f"旧{title}" for title in table["title"].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("title"), "title", titles), next(older.iterdir()))
    source = published(parameters()["sources"], root)[name]
    assert list(drafts(source, root)) == list(drafts(SOURCES[name], PUBLISHED))


def test_the_copies_pass_the_check_before_a_run():
    assert check_sources(SOURCES, PUBLISHED) is None


def test_what_is_not_pinned_is_said_for_all_sources_at_once():
    floating = {name: source for name, source in parse_sources(parameters()["sources"]).items()
                if any(not hub.revision for hub in source.hub)}  # fmt: skip
    with pytest.raises(DataError) as error:
        check_sources(SOURCES | floating, PUBLISHED)
    first, *lines = str(error.value).split("\n")
    assert first == f"{len(floating)} of {len(SOURCES)} sources cannot be read."
    assert [line.split(":")[0].strip() for line in lines] == list(floating)
    assert all("has no revision" in line for line in lines)


def test_the_journal_that_the_benchmark_tests_on_is_left_out():
    texts = [draft.positive.text for _, draft in drafts(PAPER["jrc"], PUBLISHED)]
    everything = [draft.positive.text for _, draft in drafts(replace(PAPER["jrc"], exclude={}), PUBLISHED)]
    assert "文を切る。" in everything and texts == [text for text in everything if text != "文を切る。"]


@pytest.mark.parametrize(
    ("stage", "table"),
    [
        ("pretraining", TABLE_1),
        ("reranking_stage1", TABLE_3),
        ("reranking_stage2", TABLE_4),
        ("finetuning", TABLE_8),
    ],
)
def test_each_stage_has_the_sources_of_its_table(stage, table):
    assert {name for name, source in PAPER.items() if source.rows_of(stage)} == set(table)
    for name in table:
        for row in PAPER[name].rows_of(stage):
            assert StageRecipe.of(stage, row, "contrastive", RULES).rules.n == RULES.n


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("small", ("line-corporation/line-distilbert-base-japanese", 256, 1e-4, 1e-4, 1e-5, 1e-5)),
        ("base", ("tohoku-nlp/bert-base-japanese-v3", 256, 5e-5, 5e-5, 5e-6, 5e-6)),
        ("large", ("tohoku-nlp/bert-large-japanese-v2", 192, 3e-5, 3e-5, 3e-6, 3e-6)),
    ],
)
def test_a_size_picks_its_numbers_and_shares_the_rest(size, expected):
    found = parameters(size=size)
    pretraining, reranking, finetuning = found["pretraining"], found["reranking"], found["finetuning"]
    rates = [part["learning_rate"] for part in (pretraining, reranking["stage1"], reranking["stage2"], finetuning)]
    assert (found["base_model"]["name"], pretraining["max_length"], *rates) == expected
    assert found["recipe"] == size
    assert pretraining["batch_size"] == 8192 and reranking["stage1"]["batch_size"] == finetuning["batch_size"] == 512
    assert found["mining"]["supervised"]["negatives"] == {
        "reranking_stage1": 63, "reranking_stage2": 63, "finetuning": 15,
    }  # fmt: skip
    assert found["sources"] == parameters()["sources"]
