"""The commands that use a model or inspect a run: parsed arguments in, results on stdout out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pretune.cli.arguments import stage_folder
from pretune.cli.chat_commands import evaluate_replies
from pretune.cli.model_arguments import OF_LABELS
from pretune.cli.options import refuse_options, typed_values
from pretune.cli.output import to_json, to_stderr, to_stdout
from pretune.cli.page_commands import run_folder, write_page_with
from pretune.cli.render import (
    describe_evaluation,
    describe_export,
    describe_fill,
    describe_minimal_pairs,
    describe_prediction,
    describe_report,
    describe_selftest,
    describe_text_loss,
    describe_verification,
)
from pretune.errors import EXIT_DONE, EXIT_MODEL, InputDataError, UsageError
from pretune.reporting.report import show_prediction, show_run
from pretune.runtime.events import read_run
from pretune.settings import Sampling
from pretune.terminal import clean_lines
from pretune.text.reading_report import counted, join_names

if TYPE_CHECKING:
    from pretune.inference.classify import Classifier

Arguments = argparse.Namespace
DROPPED_SHOWN = 10  # documents of a rule, without --limit


def predict(arguments: Arguments) -> int:
    """Label texts, or the rows of a file."""
    texts: Sequence[str] = arguments.texts
    if arguments.input is None and not texts:
        raise UsageError(
            'There is nothing to label: give texts, as in pretune predict MODEL "A text.", or --input FILE.'
        )
    if arguments.threads is not None:
        from pretune.compute.device import use_threads

        use_threads(arguments.threads)
    if arguments.input is not None:
        return _predict_file(arguments)
    options = ("--output", "--text-column", "--text-pair-column")
    for option in options:
        value = vars(arguments)[option.removeprefix("--").replace("-", "_")]
        if value is not None:
            raise UsageError(
                f"{option} is given without --input; name the file of texts with --input, or omit {option}."
            )
    from pretune.inference.load import load_classifier
    from pretune.inference.predict import looks_like_file, predict

    model = _model_of(arguments)
    classifier = load_classifier(model, stack=arguments.stack) if isinstance(model, str) else model
    predictions = predict(classifier, _in_pairs(texts) if classifier.labelling.has_pairs else texts)
    for text in texts:
        if looks_like_file(text):
            instead = f"give --input {shlex.quote(text)}"
            to_stderr(f"{text!r} is labelled as a text; to label the rows of the file, {instead}.")
    for prediction in predictions:
        if arguments.json:
            fields = asdict(prediction)
            to_stdout(to_json({name: value for name, value in fields.items() if name != "text_pair" or value}))
        else:
            to_stdout(describe_prediction(prediction.texts, prediction.label, prediction.probability))
    return EXIT_DONE


def _model_of(arguments: Arguments) -> str | Classifier:
    """The path that was typed, or with --label-words a classifier made of the pre-trained model there."""
    words = tuple(item.strip() for item in arguments.label_words.split(",") if item.strip())
    if not words and arguments.pattern is None:
        return str(arguments.model)
    from pretune.inference.zero_shot import zero_shot_classifier

    classifier, sentence = zero_shot_classifier(arguments.model, words, arguments.pattern)
    if not arguments.quiet:
        to_stderr(sentence)
    return classifier


def _in_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Typed texts two by two, for a model of pairs."""
    if len(texts) % 2:
        raise UsageError(
            f"The model was trained on pairs of texts, and {len(texts)} are given; give two for each pair, as in "
            'pretune predict MODEL "A text." "Another."'
        )
    return list(zip(texts[::2], texts[1::2], strict=True))


def _predict_file(arguments: Arguments) -> int:
    if arguments.texts:
        raise UsageError("Both texts and --input are given; give only one of them.")
    if arguments.json:
        raise UsageError(
            "--json does not work with --input; to get JSON for a file, give --output a name that ends in .jsonl."
        )
    if arguments.output is None:
        raise UsageError("--input is given without --output; give a file to write that ends in .csv, .jsonl or .txt.")
    from pretune.inference.predict import predict_file

    log = (lambda _sentence: None) if arguments.quiet else to_stderr
    done = predict_file(
        _model_of(arguments),
        arguments.input,
        arguments.output,
        text_column=arguments.text_column,
        stack=arguments.stack,
        text_pair_column=arguments.text_pair_column,
        on_progress=lambda rows: log(f"{rows:,} rows"),
    )
    for sentence in done.warnings:
        log(sentence)
    for entry in done.skipped:
        log(f"{counted(entry['count'], 'row')} got no label: {entry['reason']}")
    if done.without_text:
        log(f"{counted(done.without_text, 'row')} without a text got no label.")
    log(
        f"Labelled {counted(done.rows, 'row')} in {done.seconds:.1f} s: texts from column {done.text_column}, "
        f"predictions in {join_names(done.added_columns)} of {done.output}."
    )
    return EXIT_DONE


def evaluate(arguments: Arguments) -> int:
    """Evaluate a model on labelled examples, on minimal pairs, on text, or its replies on held-out conversations."""
    if arguments.text is None:
        refuse_options(arguments, ("--window", "--stride"), "without --text", "add --text")
    if arguments.minimal_pairs is None:
        refuse_options(arguments, ("--scoring", "--limit"), "without --minimal-pairs", "add --minimal-pairs")
    if arguments.chat is None:
        of_chat = ("--replies", "--trained-on", "--response-column", "--max-tokens", "--seed")
        refuse_options(arguments, of_chat, "without --chat", "add --chat")
    if arguments.minimal_pairs is not None:
        return _evaluate_minimal_pairs(arguments)
    if arguments.text is not None:
        return _evaluate_text(arguments)
    if arguments.chat is not None:
        return evaluate_replies(arguments)
    from pretune.evaluation.evaluate import evaluate

    figures = evaluate(
        _model_of(arguments),
        Path(arguments.labels),
        text_column=arguments.text_column,
        text_pair_column=arguments.text_pair_column,
        stack=arguments.stack,
        label_column=arguments.label_column,
        label_names=tuple(item for item in arguments.label_names.split(",") if item.strip()),
    )
    for sentence in () if arguments.quiet else figures["warnings"]:
        to_stderr(sentence)
    to_stdout(to_json(figures) if arguments.json else describe_evaluation(figures))
    return EXIT_DONE


def _evaluate_minimal_pairs(arguments: Arguments) -> int:
    """Show how often a pre-trained model prefers the acceptable sentence."""
    refuse_options(arguments, ("--text-column", *OF_LABELS), "with --minimal-pairs", "use --labels")
    from pretune.evaluation.minimal_pairs import evaluate_minimal_pairs

    figures = evaluate_minimal_pairs(
        arguments.model,
        arguments.minimal_pairs,
        scoring=arguments.scoring or "auto",
        limit=arguments.limit,
        on_progress=None if arguments.quiet else _show_sentences,
    )
    to_stdout(to_json(figures) if arguments.json else describe_minimal_pairs(figures))
    if arguments.json and figures["notice"]:  # a program that reads the accuracy alone would miss it
        to_stderr(figures["notice"])
    return EXIT_DONE


def _evaluate_text(arguments: Arguments) -> int:
    """Show how well a causal or hybrid model predicts text."""
    refuse_options(arguments, OF_LABELS, "with --text", "use --labels")
    from pretune.evaluation.text import evaluate_text

    figures = evaluate_text(
        arguments.model,
        arguments.text,
        text_column=arguments.text_column,
        window=arguments.window,
        stride=arguments.stride,
    )
    to_stdout(to_json(figures) if arguments.json else describe_text_loss(figures))
    return EXIT_DONE


def _show_sentences(done: int, total: int) -> None:
    to_stderr(f"{done:,} of {total:,} sentences")


def fill(arguments: Arguments) -> int:
    """Show the words that the pre-trained model predicts at each [MASK]."""
    from pretune.inference.predict import fill

    found = fill(arguments.model, arguments.text, top=arguments.top)
    if arguments.json:
        to_stdout(to_json(found))
        return EXIT_DONE
    to_stdout(describe_fill(found["masks"]))
    return EXIT_DONE


def generate(arguments: Arguments) -> int:
    """Continue a prompt; each word is shown as soon as it is there."""
    from pretune.inference.load import load_generator

    sampling = Sampling(**typed_values(arguments).get("sampling", {}))
    # The line break with which a program such as echo ends its output is not part of the text.
    prompt = sys.stdin.read().removesuffix("\n") if arguments.prompt == "-" else arguments.prompt
    generator = load_generator(arguments.model)
    if arguments.json:
        [found] = generator.generate([prompt], sampling)
        to_stdout(
            to_json(
                {
                    "prompt": found.prompt,
                    "text": found.text,
                    "tokens": len(found.token_ids),
                    "prompt_tokens": found.num_prompt_tokens,
                    "ending": found.ending,
                    "seed": sampling.seed,
                    "model": str(generator.path),
                }
            )
        )
        return EXIT_DONE
    texts = generator.stream(prompt, sampling)
    sys.stdout.write(clean_lines(generator.clean(prompt)))
    try:
        for text in texts:
            sys.stdout.write(clean_lines(text))
            sys.stdout.flush()
    finally:
        to_stdout("")  # after Ctrl-C, too: what is said about it gets a line of its own
    return EXIT_DONE


def trace(arguments: Arguments) -> int:
    """Trace one prediction from tokens to decision."""
    if arguments.selftest:
        return _selftest(arguments)
    texts: Sequence[str] = arguments.texts
    if not texts:
        command = f"pretune trace {shlex.quote(arguments.model)}"
        raise UsageError(f'There is no TEXT; give one, as in {command} "A wonderful film."')
    if len(texts) > 2:
        raise UsageError(f"{len(texts)} texts are given; give one, or two for a model of pairs of texts.")
    from pretune.page.report import refuse_other_file
    from pretune.run_trace import codec
    from pretune.tracing.prediction import trace

    page = None if arguments.html is None else Path(arguments.html)
    if page is not None:
        refuse_other_file(page, "--html")
        run_folder(arguments.model)
    found = trace(arguments.model, *texts, stack=arguments.stack)
    if arguments.json:
        to_stdout(to_json(codec.to_json(found)))
    else:
        show_prediction(found, sys.stdout)
    if page is not None:
        run = Path(arguments.model)
        described = describe_report(page, write_page_with(found, run, page), run, has_excerpts=True)
        (to_stderr if arguments.json else to_stdout)(described)
    return EXIT_DONE


def _selftest(arguments: Arguments) -> int:
    """Check the attributions against a reason that is known; EXIT_MODEL if one of them misses it too often."""
    if arguments.texts:
        raise UsageError("Both a text and --selftest are given; give only one of them.")
    for option, is_given in (("--html", arguments.html is not None), ("--no-stack", not arguments.stack)):
        if is_given:
            raise UsageError(f"{option} is given with --selftest, which traces no text; omit {option}.")
    from pretune.tracing.selftest import run_selftest

    if not arguments.quiet:
        to_stderr("Fine-tuning on a copy of the labelled rows with a planted word; the run stays as it is.")
    found = run_selftest(arguments.model)
    if arguments.json:
        to_stdout(to_json({**asdict(found), "is_passed": found.is_passed}))
    else:
        to_stdout(describe_selftest({**asdict(found), "is_passed": found.is_passed}))
    return EXIT_DONE if found.is_passed else EXIT_MODEL


def export(arguments: Arguments) -> int:
    """Write the tokens of stage 2 in another tool's format."""
    from pretune.exporting.export_tokens import export

    done = export(
        stage_folder(arguments.preprocessed, "preprocess"),
        arguments.out,
        arguments.to,
        view=arguments.view,
        row_tokens=arguments.row_tokens,
    )
    for exported in done:
        if arguments.json:
            to_stdout(to_json({**vars(exported), "files": [str(file) for file in exported.files]}))
        else:
            to_stdout(describe_export(vars(exported)))
    return EXIT_DONE


def show(arguments: Arguments) -> int:
    """Show the tables of a run from its logs, or the documents that preprocess dropped."""
    run = Path(arguments.run)
    if arguments.dropped is not None:
        return _show_dropped(stage_folder(arguments.run, "preprocess"), arguments)
    for option, value in (("--limit", arguments.limit), ("--json", arguments.json or None)):
        if value is not None:
            raise UsageError(f"{option} is given without --dropped RULE; add --dropped, or omit {option}.")
    if not read_run(run):
        raise InputDataError(f"{run} has no logs; expected a run or a stage folder, or a copy of its logs.")
    show_run(run, sys.stdout)
    return EXIT_DONE


def _show_dropped(folder: Path, arguments: Arguments) -> int:
    """Show the documents that a rule dropped, from the list in the stage's folder."""
    from itertools import islice

    from pretune.reporting.sections.dropped import show_dropped
    from pretune.text.steps.dropped import iter_dropped

    limit = DROPPED_SHOWN if arguments.limit is None else arguments.limit
    if limit < 1:
        raise UsageError(f"--limit is {limit}; expected at least 1.")
    documents = iter_dropped(folder, arguments.dropped)
    shown = list(islice(documents, limit))
    if arguments.json:
        for document in shown:
            to_stdout(to_json(document))
    else:
        show_dropped(arguments.dropped, shown, next(documents, None) is not None, sys.stdout)
    return EXIT_DONE


def learn(arguments: Arguments) -> int:
    """Ask questions about a run in the terminal."""
    from pretune.learning.learn import learn

    part: Literal["quiz", "practice", "test"] = "quiz"
    if arguments.practice or arguments.test:
        part = "practice" if arguments.practice else "test"
    learn(Path(arguments.run), part, sys.stdin, sys.stdout)
    return EXIT_DONE


def verify(arguments: Arguments) -> int:
    """Check the files of a folder against their hashes."""
    from pretune.runtime.verification import verify

    results = verify(Path(arguments.folder))
    is_whole = all(result.is_whole for result in results)
    if arguments.json:
        folders = [{**asdict(result), "is_whole": result.is_whole} for result in results]
        to_stdout(to_json({"path": arguments.folder, "is_whole": is_whole, "folders": folders}))
    else:
        to_stdout(describe_verification(results))
    return EXIT_DONE if is_whole else EXIT_MODEL
