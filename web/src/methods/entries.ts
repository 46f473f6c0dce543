export interface MethodEntry {
  id: string;
  figure: string;
  made: string;
  care: string;
  source?: string;
}

/** The definitions behind the figures of the page, each with its source where it is not our own. */
export const METHODS: MethodEntry[] = [
  {
    id: "loss",
    figure: "Loss",
    made: "Mean negative log-probability in nats, per hidden token or per text, always on the same hidden tokens. ln V is a guess that takes all tokens for equally likely, ln K one that takes all classes; the unigram entropy is what word frequencies alone reach.",
    care: "Losses of two tokenizers, or of the two phases, cannot be compared.",
  },
  {
    id: "training-loss",
    figure: "Training and validation",
    made: "Training figures are means over the steps since the last evaluation, while the weights still change, and fine-tuning masks some words of its training texts. Validation is measured at one moment, on text held out.",
    care: "A training loss above the validation loss is therefore no sign of a mistake.",
  },
  {
    id: "interval",
    figure: "Intervals",
    made: "Wilson’s 95 % interval for an accuracy. For a difference of two models, paired row by row, with McNemar’s exact test.",
    care: "With one seed it covers the choice of the test texts and not a repeat of training.",
    source: "Wilson, 1927; McNemar, 1947; Newcombe, 1998",
  },
  {
    id: "control",
    figure: "The control from scratch",
    made: "The same network with random weights, fine-tuned on the same labelled texts with a schedule of its own, read on the same test texts.",
    care: "It says what pre-training added to this network, not what another network could do.",
  },
  {
    id: "baselines",
    figure: "Linear baselines",
    made: "Logistic regression on TF-IDF, and NB-SVM on word counts weighted by their log-count ratio; settings chosen on the validation texts.",
    care: "Where they come close, the task needs little more than single words.",
    source: "Wang and Manning, 2012",
  },
  {
    id: "slices",
    figure: "Slices",
    made: "Groups of test texts that the data names; each is tested by itself, and the p-values of the verdicts on slices are corrected for their number.",
    care: "Small slices have wide intervals; their differences are often no differences.",
    source: "Holm, 1979",
  },
  {
    id: "watched",
    figure: "Watch it learn",
    made: "The same sentences with the same hidden word at every evaluation, chosen before training; the figure is the probability of the word that stood there.",
    care: "Another word may fit as well. A sentence that also stands in training text shows memory, not skill.",
  },
  {
    id: "readouts",
    figure: "Read-outs by layer",
    made: "A linear probe on the state after each layer, trained on training texts, beside two controls: shuffled labels, and a network with random weights.",
    care: "What can be read out at a layer is not what was decided there.",
    source: "Alain and Bengio, 2017; Hewitt and Liang, 2019",
  },
  {
    id: "contributions",
    figure: "Contributions",
    made: "Every block adds to one stream and the head is linear, so the parts and the bias sum to the logit.",
    care: "A large part may carry on what an earlier part prepared.",
    source: "Elhage et al., 2021",
  },
  {
    id: "attention",
    figure: "Attention",
    made: "The weights with which a token takes in the others, by layer and head.",
    care: "Weights are no reasons: other weights can give the same prediction.",
    source: "Jain and Wallace, 2019; Wiegreffe and Pinter, 2019",
  },
  {
    id: "reasons",
    figure: "Reasons",
    made: "Integrated gradients of the score from a text with every word masked, beside the change of the score when one word is masked. A curve masks the words in that order, beside random orders.",
    care: "Where the two disagree, neither should be read. Both say what the model used, not what is true.",
    source: "Sundararajan et al., 2017; DeYoung et al., 2020",
  },
  {
    id: "calibration",
    figure: "Calibration",
    made: "Bins of the probability of the predicted class, with the fraction that is right; the band is what chance would show for a perfectly calibrated model with these rows.",
    care: "An error below what chance shows is no evidence of bad calibration.",
    source: "Guo et al., 2017; Bröcker and Smith, 2007",
  },
  {
    id: "checks",
    figure: "Checks",
    made: "Each is computed from the numbers of the document when it is written; those with a ring are computed again in the reader’s browser.",
    care: "They find contradictions and broken arithmetic, not wrong data.",
  },
];
