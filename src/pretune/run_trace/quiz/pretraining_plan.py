"""Questions about the plan of pre-training: learning rate, steps and tokens, cost."""

from __future__ import annotations

from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at
from pretune.trace_schema import Phase, RunTrace


def _phase(trace: RunTrace) -> Phase:
    assert trace.phases.pretrain is not None
    return trace.phases.pretrain


def _rates(trace: RunTrace) -> list[float]:
    phase = trace.phases.pretrain
    rates = [] if phase is None else phase.steps.learning_rate
    return [rate for rate in rates if rate is not None] if None not in rates else []


def _rate_rises_and_falls(trace: RunTrace) -> bool:
    rates = _rates(trace)
    return len(rates) >= 5 and max(rates) > 1.1 * rates[0] and rates[-1] < 0.5 * max(rates)


def _warm_up(trace: RunTrace, _rng: Random) -> Draft:
    rates = at("phases", "pretrain", "steps", "learning_rate")
    shown, steps = _rates(trace), _phase(trace).steps.step
    top = shown.index(max(shown))
    return Draft(
        prompt="How does the learning rate of pre-training change over this run?",
        right=Claim(
            text="It rises in a short warm-up, and falls toward the end.",
            why=f"It starts at {formats.rate(shown[0])}, reaches {formats.rate(max(shown))}, and ends at "
            f"{formats.rate(shown[-1])}.",
            holds=[
                "and",
                ["lt", ["first", rates], ["max", rates]],
                ["lt", ["last", rates], ["mul", 0.5, ["max", rates]]],
            ],
        ),
        wrong=[
            Claim(
                text="It stays the same in every step.",
                why=f"It lies between {formats.rate(min(shown))} and {formats.rate(max(shown))}.",
                holds=["eq", ["min", rates], ["max", rates]],
                misconception="takes the learning rate for a constant",
            ),
            Claim(
                text="It is highest at the first step, and falls from there.",
                why=f"It is highest at step {formats.count(steps[top])}: the first updates point in unreliable "
                "directions, so large ones do damage.",
                holds=["eq", ["argmax", rates], 0],
                misconception="overlooks the warm-up",
            ),
            Claim(
                text="It rises until the last step, because the model can take more and more.",
                why=f"It ends at {formats.rate(shown[-1])}, far below its maximum: small steps let the loss settle.",
                holds=["eq", ["argmax", rates], ["sub", ["len", rates], 1]],
                misconception="expects larger steps of a better model",
            ),
        ],
        hints=[
            "Early updates point in unreliable directions; late ones should be fine.",
            "Section 3 shows the learning rate below the charts.",
        ],
        solution=[
            f"First {formats.rate(shown[0])}, highest {formats.rate(max(shown))} at step "
            f"{formats.count(steps[top])}, last "
            f"{formats.rate(shown[-1])}."
        ],
    )


def _has_plan(trace: RunTrace) -> bool:
    phase = trace.phases.pretrain
    return phase is not None and phase.plan is not None and bool(phase.plan.tokens_per_step) and phase.plan.steps > 1


def _tokens_in_all(trace: RunTrace, _rng: Random) -> Draft:
    plan = _phase(trace).plan
    assert plan is not None and plan.tokens_per_step is not None
    steps, tokens = at("phases", "pretrain", "plan", "steps"), at("phases", "pretrain", "plan", "tokens_per_step")
    total = plan.steps * plan.tokens_per_step
    return Draft(
        prompt=f"Pre-training makes {formats.count(plan.steps)} updates with {formats.count(plan.tokens_per_step)} "
        "tokens each, on average. About how many million tokens does the model read?",
        number=["div", ["mul", steps, tokens], 1e6],
        tolerance=max(0.01 * total / 1e6, 0.001),
        unit="million tokens",
        wrong_numbers=[
            WrongNumber(["div", ["mul", steps, tokens], 1e3], "That is in thousands.", "counts thousands as millions"),
            WrongNumber(["div", tokens, 1e6], "That is one update.", "leaves out the number of updates"),
        ],
        hints=["Every update reads one batch.", "Multiply updates by tokens, and divide by 1,000,000."],
        solution=[
            f"{formats.count(plan.steps)} x {formats.count(plan.tokens_per_step)} = {formats.count(total)}.",
            f"That is {total / 1e6:.3g} million.",
        ],
    )


def _has_schedule(trace: RunTrace) -> bool:
    plan = None if trace.phases.pretrain is None else trace.phases.pretrain.plan
    if plan is None or plan.warmup_steps is None or plan.decay_start_step is None:
        return False
    return 0 < plan.warmup_steps < plan.decay_start_step < plan.steps


def _full_rate(trace: RunTrace, _rng: Random) -> Draft:
    plan = _phase(trace).plan
    assert plan is not None and plan.warmup_steps is not None and plan.decay_start_step is not None
    read = {name: at("phases", "pretrain", "plan", name) for name in ("steps", "warmup_steps", "decay_start_step")}
    full = plan.decay_start_step - plan.warmup_steps
    return Draft(
        prompt=f"Pre-training has {formats.count(plan.steps)} steps. The learning rate rises until step "
        f"{formats.count(plan.warmup_steps)}, stays, and falls from step {formats.count(plan.decay_start_step)} on. "
        "For how "
        "many per cent of the steps does it stay at its maximum?",
        number=["div", ["mul", 100, ["sub", read["decay_start_step"], read["warmup_steps"]]], read["steps"]],
        tolerance=0.6,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 100, ["sub", read["steps"], read["decay_start_step"]]], read["steps"]],
                "That is the fraction in which it falls.",
                "takes the decay for the maximum",
            ),
            WrongNumber(
                ["div", ["mul", 100, read["warmup_steps"]], read["steps"]],
                "That is the warm-up.",
                "takes the warm-up for the maximum",
            ),
        ],
        hints=[
            "Early updates point in unreliable directions, so the rate begins low; at the end small steps let the loss "
            "settle.",
            f"Count the steps from {formats.count(plan.warmup_steps)} to {formats.count(plan.decay_start_step)}.",
        ],
        solution=[
            f"({formats.count(plan.decay_start_step)} - {formats.count(plan.warmup_steps)}) / "
            f"{formats.count(plan.steps)} = "
            f"{100 * full / plan.steps:.1f} %."
        ],
    )


def _has_cost(trace: RunTrace) -> bool:
    phase = trace.phases.pretrain
    return (
        phase is not None and bool(phase.parameters) and bool(phase.evaluations) and bool(phase.evaluations[-1].tokens)
    )


def _operations(trace: RunTrace, _rng: Random) -> Draft:
    phase = _phase(trace)
    parameters, tokens = phase.parameters or 0, phase.evaluations[-1].tokens or 0
    read = [
        at("phases", "pretrain", "parameters"),
        at("phases", "pretrain", "evaluations", len(phase.evaluations) - 1, "tokens"),
    ]
    total = 6 * parameters * tokens / 1e12
    return Draft(
        prompt=f"A rule of thumb: training takes 6 operations for each parameter and token. This model has "
        f"{formats.count(parameters)} parameters and read {formats.count(tokens)} tokens. How many million million "
        "(10^12) "
        "operations is that?",
        number=["div", ["mul", 6, ["mul", *read]], 1e12],
        tolerance=0.02 * total,
        unit="x 10^12",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 2, ["mul", *read]], 1e12],
                "2 operations for each parameter and token are the forward pass alone.",
                "leaves out the backward pass",
            ),
            WrongNumber(["div", ["mul", *read], 1e12], "The factor 6 is missing.", "leaves out the factor"),
        ],
        hints=[
            "The forward pass takes 2 operations for each parameter and token, the backward pass twice as many.",
            f"6 x {formats.count(parameters)} x {formats.count(tokens)}.",
        ],
        solution=[f"6 x {parameters / 1e6:.3g} million x {tokens / 1e6:.3g} million = {total:.3g} x 10^12 operations."],
    )


TEMPLATES = (
    Template("Q-WARMUP", "easy", "learning rate", "training", _rate_rises_and_falls, _warm_up),
    Template("Q-SCHEDULE", "medium", "learning rate", "training", _has_schedule, _full_rate),
    Template("Q-TOTAL", "easy", "steps and tokens", "training", _has_plan, _tokens_in_all),
    Template("Q-OPERATIONS", "hard", "cost of training", "training", _has_cost, _operations),
)
