import type { Phase, RunTrace } from "../trace.ts";

export interface MethodEntry {
  id: string;
  figure: string;
  made: string;
  care: string;
  source?: string;
}

/** The definitions behind the figures of the page, each with its source where it is not our own: those of the task, of
 * what pre-training predicted, and of the parts that the run has. */
export function methodsOf(trace: RunTrace): MethodEntry[] {
  if (trace.strategies) return [...OF_REPLIES, COMMON.checks];
  const { phases, comparison, predictions } = trace;
  if (phases.finetune?.objective === "replies") return [...OF_REPLIES, COMMON.checks];
  const entries = [
    loss(trace),
    COMMON.training,
    interval(trace),
    ...(comparison ? [COMMON.control, baselines(trace), COMMON.slices] : []),
    ...(phases.pretrain ? [watched(trace)] : []),
    ...(predictions.length > 0 ? [COMMON.readouts, contributions(trace), COMMON.attention, COMMON.reasons] : []),
    calibration(trace),
    COMMON.checks,
  ];
  return entries.filter((entry) => entry !== null);
}

const OF_REPLIES: MethodEntry[] = [
  {
    id: "loss",
    figure: "Loss",
    made: "Mean negative log-probability in nats, per token of the held-out replies, without the marks that end a reply.",
    care: "Losses of two bases cannot be compared if their tokens differ.",
  },
  {
    id: "interval",
    figure: "Intervals",
    made: "From a bootstrap: whole conversations are drawn again and again, the same ones for both models of a difference. The p-values are corrected for the number of pairs.",
    care: "With one seed it covers the choice of the conversations and not a repeat of training.",
    source: "Efron, 1979; Holm, 1979",
  },
];

function loss(trace: RunTrace): MethodEntry {
  const { pretrain, finetune, scratch } = trace.phases;
  const trained = finetune ?? scratch;
  const task = trained && LOSSES[trained.objective ?? trained.metric];
  const nats = trained?.metric === "pearson" ? "" : "Negative log-probability in nats.";
  const pretraining = `Mean negative log-probability in nats, ${perToken(pretrain)}; ln V is a guess that takes all tokens for equally likely, and the unigram entropy is what word frequencies alone reach.`;
  return {
    id: "loss",
    figure: "Loss",
    made: [pretrain ? pretraining : nats, task].filter(Boolean).join(" "),
    // In fine-tuning it is a loss per text or word, whatever the tokens are.
    care: pretrain ? "Losses of two tokenizers, or of the two phases, cannot be compared." : "Only losses on the same rows can be compared.",
  };
}

function perToken(pretrain: Phase | null): string {
  if (pretrain?.objective === "causal") return "per next token, which is predicted from those before it, always on the same text";
  const hidden = "per hidden token, always on the same hidden tokens";
  return pretrain?.objective === "hybrid" ? `${hidden}, and per next token` : hidden;
}

/** What the loss of fine-tuning is, by what was trained on or by the main metric of the task. */
const LOSSES: Record<string, string> = {
  accuracy: "In fine-tuning it is the mean per text; ln K is a guess that takes all classes for equally likely.",
  micro_f1: "In fine-tuning it is the binary cross-entropy of each label, summed over the labels, per text.",
  pearson:
    "In fine-tuning it is the squared error of the standardised numbers, and no logarithm: always predicting the mean of the training rows gives about 1.",
  entity_f1: "In fine-tuning it is the mean per word; ln K is a guess that takes all tags for equally likely.",
  replies: "In fine-tuning it is the mean per token of the replies.",
};

function interval({ run, comparison, phases }: RunTrace): MethodEntry {
  const metric = comparison?.metric ?? (phases.finetune ?? phases.scratch)?.metric ?? "accuracy";
  const compared = comparison?.verdicts[0]?.metric ?? metric;
  const wilson = "Wilson’s 95 % interval for an accuracy.";
  const drawn = "the test rows are drawn again and again, the same ones for both models of a difference";
  const [made, source] =
    metric !== "accuracy"
      ? [`From a bootstrap: ${drawn}.`, "Efron, 1979"]
      : compared !== "accuracy"
        ? [`${wilson} For macro-F1, from a bootstrap: ${drawn}.`, "Wilson, 1927; Efron, 1979"]
        : [
            `${wilson} For a difference of two models, paired row by row; with one seed each, its p-value is that of an exact test: McNemar’s, or with groups of rows Fisher’s randomisation test.`,
            "Wilson, 1927; Fisher, 1935; McNemar, 1947; Newcombe, 1998",
          ];
  // Pairs count as independent: two that share one text still ask different questions.
  const groups = run.has_pairs ? "" : ` ${metric === "entity_f1" ? "Whole texts are drawn; those" : "Rows"} of which one contains another, word for word, vary together, as one group.`;
  return {
    id: "interval",
    figure: "Intervals",
    made: made + groups,
    care: "With one seed it covers the choice of the test texts and not a repeat of training.",
    source,
  };
}

const CHOSEN = "settings chosen on the validation texts.";
const SINGLE_WORDS = "Where they come close, the task needs little more than single words.";

function baselines({ run }: RunTrace): MethodEntry {
  const entry = { id: "baselines", figure: "Linear baselines", care: SINGLE_WORDS };
  if (run.task === "tokens") {
    return {
      ...entry,
      figure: "Baselines",
      made: `An averaged perceptron on words, their shapes and their neighbours, ${CHOSEN} Beside it, the phrases that are entities in the training rows.`,
      care: "Where they come close, words and their neighbours say enough.",
      source: "Collins, 2002",
    };
  }
  if (run.has_pairs) {
    const model = run.task === "regression" ? "Ridge" : "Logistic";
    return {
      ...entry,
      made: `${model} regression on the words of both texts, the words that both or only one of them have, and measures of their overlap; ${CHOSEN}`,
      care: "Where it comes close, the overlap of the two texts says enough.",
    };
  }
  if (run.task === "regression") return { ...entry, made: `Ridge regression on TF-IDF of words and pairs of words; ${CHOSEN}` };
  if (run.task === "multilabel") {
    return { ...entry, made: "For each label, logistic regression on TF-IDF; thresholds and settings chosen on the validation texts." };
  }
  return {
    ...entry,
    made: `Logistic regression on TF-IDF, and NB-SVM on word counts weighted by their log-count ratio; ${CHOSEN}`,
    source: "Wang and Manning, 2012",
  };
}

function watched({ phases }: RunTrace): MethodEntry {
  const entry = { id: "watched", figure: "Watch it learn" };
  if (phases.pretrain?.objective === "causal") {
    return {
      ...entry,
      made: "The same beginnings of sentences, chosen before training and continued at every evaluation, each time with the most probable token.",
      care: "One continuation of many: another may be almost as probable.",
    };
  }
  return {
    ...entry,
    made: "The same sentences with the same hidden word at every evaluation, chosen before training; the figure is the probability of the word that stood there.",
    care: "Another word may fit as well. A sentence that also stands in training text shows memory, not skill.",
  };
}

/** None for a network that has none: section 5 says why. */
function contributions({ run, predictions }: RunTrace): MethodEntry | null {
  if (predictions.some((prediction) => prediction.contributions_note !== null)) return null;
  return {
    id: "contributions",
    figure: "Contributions",
    made: `Every block adds to one stream and the head is linear, so the parts and the bias sum to the ${run.task === "regression" ? "output" : "logit"}.`,
    care: "A large part may carry on what an earlier part prepared.",
    source: "Elhage et al., 2021",
  };
}

/** None without errors, and for a task whose errors have no calibration. */
function calibration({ errors }: RunTrace): MethodEntry | null {
  if (errors === null || errors.calibration.length === 0) return null;
  return {
    id: "calibration",
    figure: "Calibration",
    made: "Bins of the probability of the predicted class, with the fraction that is right; the band is what chance would show for a perfectly calibrated model with these rows. The interval of a fraction counts rows as independent.",
    care: "An error below what chance shows is no evidence of bad calibration.",
    source: "Guo et al., 2017; Bröcker and Smith, 2007",
  };
}

const COMMON = {
  training: {
    id: "training-loss",
    figure: "Training and validation",
    made: "Training figures are means over the steps since the last evaluation, while the weights still change, and fine-tuning masks some words of its training texts. Validation is measured at one moment, on text held out.",
    care: "A training loss above the validation loss is therefore no sign of a mistake.",
  },
  control: {
    id: "control",
    figure: "The control from scratch",
    made: "The same network with random weights, fine-tuned on the same labelled texts with a schedule of its own, read on the same test texts.",
    care: "It says what pre-training added to this network, not what another network could do.",
  },
  slices: {
    id: "slices",
    figure: "Slices",
    made: "Groups of test texts that the data names; each is tested by itself, and the p-values of the verdicts on slices are corrected for their number.",
    care: "Small slices have wide intervals; their differences are often no differences.",
    source: "Holm, 1979",
  },
  readouts: {
    id: "readouts",
    figure: "Read-outs by layer",
    made: "A linear probe on the state after each layer, trained on training texts, beside two controls: shuffled labels, and a network with random weights.",
    care: "What can be read out at a layer is not what was decided there.",
    source: "Alain and Bengio, 2017; Hewitt and Liang, 2019",
  },
  attention: {
    id: "attention",
    figure: "Attention",
    made: "The weights with which a token takes in the others, by layer and head.",
    care: "Weights are no reasons: other weights can give the same prediction.",
    source: "Jain and Wallace, 2019; Wiegreffe and Pinter, 2019",
  },
  reasons: {
    id: "reasons",
    figure: "Reasons",
    made: "Integrated gradients of the score from a text with every word masked, beside the change of the score when one word is masked. A curve masks the words in that order, beside random orders.",
    care: "Where the two disagree, neither should be read. Both say what the model used, not what is true.",
    source: "Sundararajan et al., 2017; DeYoung et al., 2020",
  },
  checks: {
    id: "checks",
    figure: "Checks",
    made: "Each is computed from the numbers of the document when it is written; those with a ring are computed again in the reader’s browser.",
    care: "They find contradictions and broken arithmetic, not wrong data.",
  },
} satisfies Record<string, MethodEntry>;
