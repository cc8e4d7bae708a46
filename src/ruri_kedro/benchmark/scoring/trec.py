"""Scores of a folder of TREC runs against one file of judgments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ruri_kedro.benchmark.metrics import retrieval_scores
from ruri_kedro.benchmark.runs import Qrels, in_file_order, read_qrels, read_run
from ruri_kedro.errors import DataError

_SUFFIXES = (".trec", ".trec.gz")


@dataclass(frozen=True)
class ScoredRun:
    """Scores of one run by metric and query, and what it does not share with the judgments."""

    scores: dict[str, dict[str, float]]  # metric -> qid -> score, for every judged query
    missing: int  # judged queries that the run has not; they score 0
    unjudged: int  # queries of the run without judgments; they are left out

    def means(self) -> dict[str, float]:
        """Mean over the judged queries, by metric."""
        return {metric: fmean(scores.values()) for metric, scores in self.scores.items()}


def score_runs(folder: Path, qrels_path: Path, metrics: Sequence[str]) -> dict[str, ScoredRun]:
    """Every `*.trec` and `*.trec.gz` of a folder, scored; by the file's name without its ending, in order of name.

    Equal scores stand in file order (`runs.in_file_order`). The mean is over all queries of the judgments, as with
    trec_eval's `-c`: one that the run has not counts 0, and so does one without a relevant document; a query of the
    run without judgments is left out. Raises DataError, naming file and row, for a line that is not a line of TREC, a
    document that a query has twice or a broken gzip stream, and for a file without rows, a run that shares no query
    with the judgments, and a folder without runs.
    """
    files = run_files(folder, qrels_path)
    qrels = read_qrels(qrels_path)
    if not qrels:
        raise DataError(f"{qrels_path}: no judgment in this file. Its lines are 'qid 0 docid relevance'.")
    return {name: _score(path, qrels, qrels_path, metrics) for name, path in files.items()}


def run_files(folder: Path, qrels_path: Path) -> dict[str, Path]:
    """The runs of a folder by name, sorted; DataError where there are none or two of one name.

    The judgments may lie in the same folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the folder that holds the runs (*{', *'.join(_SUFFIXES)}).")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.endswith(_SUFFIXES) or path.resolve() == qrels_path.resolve():
            continue
        name = path.name.removesuffix(".gz").removesuffix(".trec")
        if name in files:
            raise DataError(f"{folder}: {files[name].name} and {path.name} are both the run '{name}'. Remove one.")
        files[name] = path
    if not files:
        raise DataError(f"{folder}: no run in this folder. Expected one of *{', *'.join(_SUFFIXES)}.")
    return files


def _score(path: Path, qrels: Qrels, qrels_path: Path, metrics: Sequence[str]) -> ScoredRun:
    run = read_run(path)
    if not run:
        raise DataError(f"{path}: no row in this file. Its lines are 'qid Q0 docid rank score tag'.")
    if not qrels.keys() & run.keys():
        raise DataError(
            f"{path}: none of its queries (for example '{next(iter(run))}') is judged in {qrels_path}. "
            "Give the judgments of the same task."
        )
    scores = retrieval_scores(qrels, in_file_order(run), metrics)
    return ScoredRun(scores, missing=len(qrels.keys() - run.keys()), unjudged=len(run.keys() - qrels.keys()))
