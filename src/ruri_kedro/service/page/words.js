"use strict";
// Every word of the page, in its two languages.
const WORDS = {
  ja: {
    language: "English", search: "検索", blind: "ブラインド比較", api: "API", query: "クエリ", results: "件数",
    compare: "2つのモデルを比べる", moved: "順位の変化の基準", token: "トークン", use: "使う",
    which: "どちらの結果がよいですか。", left: "左がよい (1)", tie: "同じ (0)", right: "右がよい (2)",
    keys: "キー操作: / でクエリ、↓ ↑ で結果、→ ← で列、+ と - で評価、t でトークンの類似度。ブラインド比較は 1・0・2。",
    searching: "検索しています。", found: "{ms} ミリ秒", nothing: "何も見つかりませんでした。", documents: "{name}、{count} 文書",
    bm25: "BM25", dense: "密ベクトル", late_interaction: "遅延相互作用", fused: "融合", reranked: "リランク",
    same: "＝", fresh: "新", good: "関連がある", bad: "関連がない", tokens: "トークン", all: "すべて",
    side_left: "左", side_right: "右", needs_token: "トークンが必要です。",
    voted: "左は {left}、右は {right} でした。これまで: {wins}、引き分け {ties}。符号検定 p = {p}", won: "{model} {count} 勝",
    failed: "サービスに接続できません。",
  },
  en: {
    language: "日本語", search: "Search", blind: "Blind comparison", api: "API", query: "Query", results: "Results",
    compare: "Compare two models", moved: "Ranks compared with", token: "Token", use: "Use",
    which: "Which results are better?", left: "Left (1)", tie: "Equal (0)", right: "Right (2)",
    keys: "Keys: / for the query, ↓ ↑ for results, → ← for columns, + and - to judge, t for tokens. Blind comparison: 1, 0, 2.",
    searching: "Searching.", found: "{ms} ms", nothing: "Nothing was found.", documents: "{name}, {count} documents",
    bm25: "BM25", dense: "Dense", late_interaction: "Late interaction", fused: "Fused", reranked: "Reranked",
    same: "=", fresh: "new", good: "Relevant", bad: "Not relevant", tokens: "Tokens", all: "All",
    side_left: "Left", side_right: "Right", needs_token: "A token is needed.",
    voted: "Left was {left}, right {right}. Until now: {wins}, ties {ties}. Sign test p = {p}", won: "{model} won {count}",
    failed: "The service cannot be reached.",
  },
};
