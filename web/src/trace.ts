// Written by `make docs` from src/pretune.trace_schema.py. Do not edit.

/** What pre-training ran on, as its log says; None where no model has been trained yet. */
export interface Hardware {
  chip: string;
  device: string;
  threads: number | null;
  precision: string | null;
  is_compiled: boolean | null;
  processes: number | null;
}

/** The run in one screen. */
export interface RunCard {
  /** from the fingerprints of the stages */
  id: string;
  /** of the run's folder, without its path */
  name: string;
  /** ISO 8601, UTC */
  started: string | null;
  status: "finished" | "running" | "missing";
  seed: number | null;
  is_synthetic: boolean;
  task: "classification" | "multilabel" | "regression" | "tokens" | null;
  /** whether each row has two texts */
  has_pairs: boolean;
  /** the verdict of the run in one sentence */
  headline: string;
  /** the part of the headline to set off, such as '+13.4 points' */
  headline_figure: string | null;
  /** the sentence below: interval, test rows, seeds */
  detail: string;
  /** repeats the run; empty for a folder without a recipe */
  command: string;
  versions: Record<string, string>;
  hardware: Hardware | null;
  seconds: number | null;
  peak_memory_bytes: number | null;
}

/** An invariant of the document, tested when it was written; in_browser: the page tests it again. */
export interface Check {
  /** I01, I02, ... */
  id: string;
  name: string;
  /** what was measured, or what fails */
  sentence: string;
  is_ok: boolean;
  value: number | null;
  tolerance: number | null;
  in_browser: boolean;
  /** JSON pointer into this document */
  pointers: string[];
}

/** A section that this run cannot show, why, and the command that would add it. */
export interface Missing {
  /** id of a section of the page: flow, training, help, prediction, errors, quiz, insight */
  section: string;
  sentence: string;
  command: string | null;
}

/** A named count or shape, such as documents 60,000. */
export interface Quantity {
  name: string;
  value: number | string | number[];
}

export interface Dropped {
  rule: string;
  count: number;
  reason: string;
  /** text of the user */
  examples: string[];
}

export interface Message {
  kind: "detected" | "notice" | "warning";
  /** text of the user */
  sentence: string;
  count: number | null;
}

/** One stage as a step of the flow; `number` is None beside the line (split, scratch, compare). */
export interface Stage {
  name: string;
  number: number | null;
  title: string;
  status: "finished" | "running" | "missing";
  /** of an unfinished stage: how far it came, and what to do */
  reached: string | null;
  seconds: number | null;
  peak_memory_bytes: number | null;
  shape_in: Quantity[];
  shape_out: Quantity[];
  dropped: Dropped[];
  messages: Message[];
}

export interface WordGuess {
  /** text of the user */
  word: string;
  probability: number;
}

export interface MaskedExample {
  /** text of the user */
  masked_text: string;
  /** text of the user */
  true_word: string;
  probability: number | null;
  rank: number | null;
  predictions: WordGuess[];
}

/** The one text that is carried from raw text to prediction; a field is None where its stage has not run. */
export interface Example {
  /** text of the user */
  text: string | null;
  /** text of the user */
  source: string | null;
  /** text of the user */
  clean_text: string | null;
  /** text of the user */
  tokens: string[];
  ids: number[];
  masked: MaskedExample | null;
  /** text of the user */
  label: string | null;
  split: string | null;
  num_tokens: number | null;
  /** text of the user */
  predicted: string | null;
  probability: number | null;
}

export interface FunnelStep {
  step: string;
  documents: number;
  characters: number | null;
}

export interface LengthBin {
  /** a range, such as 5-9 */
  words: string;
  documents: number;
}

export interface Funnel {
  steps: FunnelStep[];
  lengths: LengthBin[];
  languages: Record<string, number>;
  /** documents whose language was found; None for all */
  languages_of: number | null;
  personal_data: Record<string, number>;
}

export interface TokenView {
  name: string;
  shape: number[];
  padding_fraction: number;
}

export interface TokenizerReport {
  kind: string;
  vocab_size: number;
  tokens_per_word: number | null;
  characters_per_token: number | null;
  unknown_fraction: number | null;
  round_trip_fraction: number | null;
  /** text of the user */
  longest_tokens: string[];
  size_rule: string | null;
  trainer: string | null;
  encoders: string[];
  views: TokenView[];
}

/** A line of a chart: the level that a simple guess reaches. */
export interface Reference {
  /** uniform, unigram, base, prior, most_frequent, majority */
  id: string;
  /** such as ln V */
  name: string;
  value: number;
  meaning: string;
}

export interface Plan {
  steps: number;
  tokens_per_step: number | null;
  warmup_steps: number | null;
  decay_start_step: number | null;
  long_start_step: number | null;
  tokens: number | null;
}

/** Figures of single updates, as parallel lists. Above a limit only the smallest and the largest loss of each stretch are kept: `kept` of `logged` points. Tokens per second are those since the point logged before. */
export interface StepSeries {
  kept: number;
  logged: number;
  step: number[];
  epoch: (number | null)[];
  loss: (number | null)[];
  accuracy: (number | null)[];
  learning_rate: (number | null)[];
  grad_norm: (number | null)[];
  tokens_per_second: (number | null)[];
}

/** A rule's finding. Each number has an expression (see run_trace.expression) that computes it from this document; the pointers name what the finding was read from. */
export interface Observation {
  rule: string;
  sentence: string;
  numbers: Record<string, number>;
  derivations: Record<string, unknown>;
  /** JSON pointer into this document */
  pointers: string[];
}

/** How well a causal or hybrid model predicts the next token of the validation text. */
export interface NextTokens {
  /** nats for each predicted token */
  loss: number;
  accuracy: number;
  accuracy_low: number | null;
  accuracy_high: number | null;
  /** predicted tokens */
  n: number | null;
  /** of the text that these tokens spell, in UTF-8 */
  bits_per_byte: number | null;
  /** standard error of the loss over the validation rows */
  loss_error: number | null;
  /** of its change since the evaluation before, paired row by row */
  loss_change_error: number | null;
}

/** One row of the training trace. */
export interface Evaluation {
  step: number;
  epoch: number;
  tokens: number | null;
  train_loss: number | null;
  train_accuracy: number | null;
  loss: number;
  /** of the phase's metric */
  score: number;
  score_low: number | null;
  score_high: number | null;
  /** half of the 95 % interval */
  score_noise: number;
  /** the score, if the metric is accuracy */
  accuracy: number | null;
  accuracy_low: number | null;
  accuracy_high: number | null;
  accuracy_noise: number | null;
  n: number | null;
  macro_f1: number | null;
  /** standard error of the loss over the validation rows */
  loss_error: number | null;
  /** of its change since the evaluation before, paired row by row */
  loss_change_error: number | null;
  /** the same of the accuracy */
  accuracy_change_error: number | null;
  /** weighted as in training: by class, or by objective; None where nothing is weighted */
  weighted_loss: number | null;
  weighted_train_loss: number | null;
  elapsed_seconds: number | null;
  is_best: boolean;
  /** the first observations, as the table shows them */
  summary: string;
  observations: Observation[];
  /** of a causal or hybrid pre-training; of a causal one, it is the loss */
  next_tokens: NextTokens | null;
}

export interface Trial {
  trial: number;
  learning_rate: number | null;
  seed: number | null;
  epochs: number | null;
  rows: number | null;
  is_search: boolean;
  best_epoch: number | null;
  best_step: number | null;
  validation_accuracy: number | null;
  /** of the phase's metric */
  validation_score: number | null;
  validation_loss: number | null;
  stopped: string | null;
  /** by what the best epoch was chosen: the phase's metric, or macro_f1 */
  metric: string | null;
  elapsed_seconds: number | null;
  /** learned from sentences of the corpus that the model labelled, too */
  is_student: boolean;
}

export interface SliceResult {
  /** text of the user */
  name: string;
  n: number;
  /** of the metric of the phase or of the comparison, as low and high are */
  score: number;
  accuracy: number | null;
  low: number;
  high: number;
}

export interface TestResult {
  seed: number | null;
  n: number;
  /** of the phase's metric, as low and high are */
  score: number;
  accuracy: number | null;
  low: number;
  high: number;
  macro_f1: number | null;
  loss: number | null;
  slices: SliceResult[];
  /** the other figures of the task, by name */
  figures: Record<string, number>;
  /** of the network that learned from the corpus, which has no seed here */
  is_student: boolean;
}

export interface SkippedUpdate {
  step: number;
  reason: string;
  sentence: string;
}

/** How well a model that was tuned on conversations predicts the replies of held-out ones, before and after it. */
export interface HeldOutReplies {
  measured_on: "test" | "validation";
  /** nats for each reply token */
  loss: number;
  /** of the 95 % interval over conversations */
  loss_low: number | null;
  loss_high: number | null;
  perplexity: number;
  /** of the reply tokens */
  accuracy: number;
  /** reply tokens */
  n: number;
  conversations: number;
  /** before the first update */
  base_loss: number;
  base_perplexity: number;
  base_accuracy: number;
  /** of the 95 % interval of the change of the loss, paired by conversation */
  change_low: number | null;
  change_high: number | null;
}

/** Pre-training, fine-tuning or the control from scratch. The evaluations are those of the trial that is shown. */
export interface Phase {
  stage: "pretrain" | "finetune" | "scratch";
  unit: "masked tokens" | "next tokens" | "reply tokens" | "texts" | "rows";
  /** of pre-training; of conversations, replies */
  objective: "masked" | "causal" | "hybrid" | "replies" | null;
  /** accuracy, micro_f1, pearson or entity_f1: what `score` is */
  metric: string;
  parameters: number | null;
  size: string | null;
  tokens_per_second: number | null;
  loss_references: Reference[];
  accuracy_references: Reference[];
  plan: Plan | null;
  steps: StepSeries;
  evaluations: Evaluation[];
  trials: Trial[];
  shown_trial: number | null;
  /** if the mean of their weights is delivered; its test has no seed */
  averaged_trials: number[];
  /** whether a student is delivered, whose test has no seed */
  is_self_trained: boolean;
  /** whether a student was asked for, which may have been left out */
  wants_student: boolean;
  chosen: string | null;
  skipped: SkippedUpdate[];
  test: TestResult[];
  /** of tuning on conversations, once it is finished */
  replies: HeldOutReplies | null;
}

export interface Phases {
  pretrain: Phase | null;
  finetune: Phase | null;
  scratch: Phase | null;
}

export interface WatchedMoment {
  step: number;
  probability: number | null;
  rank: number | null;
  predictions: WordGuess[];
}

/** A held-out sentence with a masked word, predicted at every evaluation of pre-training. */
export interface WatchedSentence {
  /** text of the user */
  masked_text: string;
  /** text of the user */
  true_word: string;
  is_in_training: boolean;
  moments: WatchedMoment[];
}

export interface ContinuedMoment {
  step: number;
  /** text of the user */
  text: string;
}

/** The beginning of a sentence, continued at every evaluation of a causal or hybrid pre-training. */
export interface ContinuedPrompt {
  /** text of the user */
  prompt: string;
  moments: ContinuedMoment[];
}

export interface ComparedModel {
  name: string;
  /** scratch, pretrained, or a baseline: majority, tfidf, ... */
  kind: string;
  n: number;
  /** of the comparison's metric, mean over the seeds; low and high are its interval */
  score: number;
  accuracy: number | null;
  low: number;
  high: number;
  macro_f1: number | null;
  brier_score: number | null;
  calibration_error: number | null;
  seeds: number[];
  slices: SliceResult[];
  /** the other figures of the task, by name */
  figures: Record<string, number>;
}

/** A paired comparison of two models on the same test rows; the difference is a fraction (0.134 is 13.4 points), or for reply_loss the nats per token by which the first one's loss is lower. */
export interface Verdict {
  between: string[];
  /** what is compared: accuracy, macro_f1, micro_f1, pearson, entity_f1 or reply_loss */
  metric: string;
  /** text of the user */
  slice: string | null;
  outcome: "better" | "worse" | "no clear difference";
  difference: number;
  low: number;
  high: number;
  p_value: number | null;
  /** text of the user */
  sentence: string;
}

/** Test rows by who is right, the pre-trained model (its first seed) or the other. */
export interface Disagreement {
  other: string;
  /** text of the user */
  slice: string | null;
  both_right: number;
  only_pretrained_right: number;
  only_other_right: number;
  both_wrong: number;
}

export interface Comparison {
  /** accuracy, micro_f1, pearson or entity_f1: what `score` is */
  metric: string;
  models: ComparedModel[];
  verdicts: Verdict[];
  /** what the intervals cover */
  coverage: string;
  disagreements: Disagreement[];
}

/** Conversations that no strategy was trained on; the first ones are like those of the training. */
export interface HeldOutConversations {
  /** text of the user */
  name: string;
  conversations: number;
  /** of the replies, without the marks that end them */
  tokens: number;
}

/** The loss of the held-out replies in nats per token; the interval covers conversations and seeds. */
export interface ReplyLoss {
  loss: number;
  low: number;
  high: number;
  perplexity: number;
  seeds: number[];
}

/** How some replies are written, and how much of them is copied from the training replies; fractions are 0 to 1. */
export interface ReplyStyle {
  n: number;
  mean_words: number;
  empty_fraction: number;
  distinct_1: number;
  distinct_2: number;
  distinct_3: number;
  /** 4-grams that repeat an earlier one of the same reply */
  repeated_fraction: number;
  /** replies that share 13 words or more in a row with a training reply, or are one */
  copied_fraction: number;
  longest_shared_words: number;
}

/** One way to a chatbot: as it is, from scratch, fine-tuned, or pre-trained further and then fine-tuned. */
export interface Strategy {
  /** as_is, scratch, finetuned or further */
  kind: string;
  name: string;
  /** a sentence: what it was trained on, and for how long */
  training: string;
  /** of training, mean over its seeds */
  minutes: number;
  /** one for each of the held-out conversations */
  losses: ReplyLoss[];
  style: ReplyStyle | null;
}

export interface GivenReply {
  /** of the strategy; reference: as it stands in the held-out conversation */
  kind: string;
  /** text of the user */
  text: string;
}

export interface AnsweredQuestion {
  /** text of the user */
  question: string;
  replies: GivenReply[];
}

/** The strategies on the same held-out conversations, the verdicts by pairs, and one conclusion by rule. */
export interface Strategies {
  budget: string;
  /** text of the user */
  base: string;
  held_out: HeldOutConversations[];
  strategies: Strategy[];
  /** of the replies in the held-out conversations */
  reference_style: ReplyStyle | null;
  verdicts: Verdict[];
  conclusion: string;
  /** what was measured that may explain it */
  reason: string;
  /** what the intervals cover */
  coverage: string;
  answers: AnsweredQuestion[];
  /** such as: no medical advice */
  notice: string | null;
}

export interface Token {
  position: number;
  /** None where texts are left out, as start, end and count are */
  id: number | null;
  /** text of the user */
  surface: string;
  /** in code points */
  start: number | null;
  end: number | null;
  is_special: boolean;
  /** index of the word that the token is part of */
  word: number | null;
  /** times in the training text */
  count: number | null;
  /** of the second text of a pair */
  in_pair: boolean;
}

/** The nearest rows of the embedding table to a token, by cosine after standardising each dimension. */
export interface Neighbours {
  position: number;
  /** each with its cosine as the probability */
  words: WordGuess[];
}

export interface PcaPoint {
  /** text of the user */
  surface: string;
  x: number;
  y: number;
  /** of the token in the text; None for one of the frequent tokens around it */
  position: number | null;
}

export interface Pca {
  points: PcaPoint[];
  /** fraction of the variance that each of the two components has */
  variance: number[];
  fitted_on: string;
}

export interface Embedding {
  norms: number[];
  neighbours: Neighbours[];
  pca: Pca | null;
}

/** A linear probe on the pooled state after a layer, trained on training rows, beside its two controls (Hewitt and Liang, 2019): shuffled labels, and the same layer of a network with random weights. */
export interface LayerProbe {
  probabilities: number[];
  validation_accuracy: number;
  shuffled_accuracy: number;
  random_weights_accuracy: number;
  n: number;
}

/** What the head would say if the model ended after this layer (0 is the embedding). */
export interface Readout {
  layer: number;
  logits: number[];
  probabilities: number[];
  /** text of the user */
  label: string;
  probe: LayerProbe | null;
}

/** What one component adds to each logit; all together sum to the logits. */
export interface Contribution {
  /** embedding, attention_1, feed_forward_1, ..., bias */
  name: string;
  logits: number[];
}

/** Attention weights as bytes, 255 being 1: layers x heads x tokens x tokens in base64. */
export interface Attention {
  shape: number[];
  weights: string;
  /** by layer and head: the weight that goes to special tokens */
  special_fraction: number[][];
  row_sum_error: number;
}

export interface Head {
  pooled: number[];
  weight: number[][];
  bias: number[];
  logits: number[];
}

/** Hiding these words, and no smaller set that was tried, changes the label. */
export interface Flip {
  /** indexes into reasons.words */
  words: number[];
  /** text of the user */
  label: string;
  probability: number;
}

export interface Decision {
  probabilities: number[];
  /** text of the user */
  label: string;
  index: number;
  probability: number;
  /** lead over the second class, as a difference of probabilities; with several labels, the smallest distance of a probability from its threshold; of a number, 0 */
  margin: number;
  flip: Flip | null;
  /** with several labels: those that are predicted */
  labels: string[];
  /** with several labels: of each label */
  thresholds: number[];
  /** of a regression: the predicted number; logit * deviation + mean */
  score: number | null;
  mean: number | null;
  deviation: number | null;
}

/** Two attributions of the score, which is the logit of the label minus that of the runner-up. Without a runner-up it is the logit of the label minus that of its threshold, or the number that a regression predicts. Integrated gradients (Sundararajan et al., 2017) from a text whose words are all masked; occlusion masks one word at a time. By word; a word's subwords are added up. */
export interface Reasons {
  /** text of the user */
  label: string;
  /** text of the user */
  runner_up: string | null;
  score: number;
  /** of the text with every word masked */
  masked_score: number;
  /** text of the user */
  words: string[];
  integrated_gradients: number[];
  steps: number;
  /** sum of the attributions minus (score - masked_score) */
  completeness_error: number;
  is_converged: boolean;
  occlusion: number[];
  /** Spearman's, between the two */
  rank_correlation: number | null;
  is_top_word_equal: boolean;
  /** score after masking the 0, 1, 2, ... words with the largest gradients; at most 24 */
  deletion: number[];
  /** the mean of the same over random orders */
  random_deletion: number[];
  random_orders: number;
}

/** What a word, a pair of words, or the overlap of a pair of texts adds to each logit of a stack. */
export interface NgramShare {
  /** text of the user */
  ngram: string;
  logits: number[];
  /** whose part of the sum it belongs to: NB-SVM, TF-IDF, words and overlap */
  part: string;
}

/** The decision of the network combined with linear models; `parts` sum to the logits: of classes up to the same number for all, of several labels to their log-odds, of a number to the number itself, in the units of the file. */
export interface StackedDecision {
  probabilities: number[];
  /** text of the user */
  label: string;
  /** of the label; with several labels, of the one that is furthest above its threshold */
  index: number;
  probability: number;
  parts: Contribution[];
  /** those that add most to the lead of the label, or take most from it */
  ngrams: NgramShare[];
  /** with several labels: of each label */
  thresholds: number[];
}

/** A stretch of a text, in code points, the end exclusive; both are 0 where texts are left out. */
export interface Entity {
  start: number;
  end: number;
  /** text of the user */
  type: string;
}

/** A word, and its label: O, or B- or I- and a type. */
export interface WordLabel {
  start: number;
  end: number;
  /** of its first token, which the model labels */
  position: number;
  /** text of the user */
  label: string;
}

/** One text, or pair of texts, through tokenization, embedding, transformer layers, head and decision. The offsets of a token of the second text of a pair count from the start of that text. With several labels, probabilities are sigmoids. A model of numbers has one output and no probabilities. A model of entities labels each word; `word` is the one whose first token the read-outs, contributions and head belong to. */
export interface PredictionTrace {
  id: string;
  /** typical, borderline, wrong, example or typed */
  why: string;
  task: "classification" | "multilabel" | "regression" | "tokens";
  /** text of the user */
  text: string;
  /** text of the user */
  text_pair: string | null;
  /** of a model of entities: the word that is shown */
  word: WordLabel | null;
  /** predicted */
  entities: Entity[];
  /** of the token that the head reads; None if it reads the mean over the text */
  read_position: number | null;
  /** text of the user */
  true_label: string | null;
  /** of a test row: its number in its file, from 0 */
  row: number | null;
  /** text of the user */
  slice: string | null;
  /** text of the user */
  label_names: string[];
  tokens: Token[];
  was_cut: boolean;
  embedding: Embedding;
  readouts: Readout[];
  contributions: Contribution[];
  /** why there are no contributions */
  contributions_note: string | null;
  attention: Attention | null;
  head: Head;
  decision: Decision;
  reasons: Reasons | null;
  contribution_error: number;
  head_error: number;
  prediction_error: number;
  /** with linear models stacked on the network; all else but the entities is the network's */
  stack: StackedDecision | null;
}

/** The five likeliest words for the mask after a layer. */
export interface FillReadout {
  layer: number;
  predictions: WordGuess[];
  probability: number | null;
  rank: number | null;
}

/** A masked word through the layers of the pre-trained model. */
export interface FillTrace {
  id: string;
  /** text of the user */
  masked_text: string;
  /** text of the user */
  true_word: string | null;
  tokens: Token[];
  mask_position: number;
  predictions: WordGuess[];
  readouts: FillReadout[];
  /** text of the user */
  words: string[];
  /** fall of the log-probability of the first guess when the word is masked, too */
  occlusion: number[];
}

export interface TestRow {
  row: number;
  /** text of the user */
  text: string;
  label: number;
  predicted: number;
  probability: number;
  /** text of the user */
  slice: string | null;
  /** text of the user */
  text_pair: string | null;
}

/** Rows whose probability lies in [low, high), in the last bin [low, high]: how many are right, and the band in which the fraction of right ones lies 95 times in 100 if the probabilities are right. */
export interface CalibrationBin {
  low: number;
  high: number;
  n: number;
  right: number;
  mean_probability: number;
  chance_low: number;
  chance_high: number;
}

export interface Calibration {
  model: string;
  bins: CalibrationBin[];
  /** expected calibration error */
  error: number;
  /** 95th percentile for a perfectly calibrated model with these rows */
  error_by_chance: number;
  brier_score: number;
  loss: number;
}

export interface SliceError {
  /** text of the user */
  slice: string;
  n: number;
  wrong: number;
  low: number;
  high: number;
}

/** How well one label, or one type of entity, is found. */
export interface LabelFigures {
  /** text of the user */
  label: string;
  /** rows or entities that have it */
  support: number;
  predicted: number;
  hits: number;
  precision: number;
  recall: number;
  f1: number;
  /** of its probability, chosen on validation */
  threshold: number | null;
}

export interface LabelSetRow {
  row: number;
  /** text of the user */
  text: string;
  /** text of the user */
  text_pair: string | null;
  label: number[];
  predicted: number[];
  /** text of the user */
  slice: string | null;
}

/** Rows that lack `missed`, which they have, and have `invented`, which they lack. */
export interface LabelConfusion {
  missed: number;
  invented: number;
  count: number;
}

/** Errors where a row has several labels, or none. */
export interface LabelSetErrors {
  labels: LabelFigures[];
  /** the most frequent first */
  confusions: LabelConfusion[];
  /** rows with all labels right */
  exact: number;
  micro_f1: number;
  /** rows with the most wrong labels first */
  examples: LabelSetRow[];
}

export interface ScoreRow {
  row: number;
  /** text of the user */
  text: string;
  /** text of the user */
  text_pair: string | null;
  label: number;
  predicted: number;
  /** text of the user */
  slice: string | null;
}

/** Errors of predicted numbers, in the units of the file. `label` and `predicted` hold at most 2,000 rows. */
export interface ScoreErrors {
  pearson: number;
  spearman: number;
  mean_absolute_error: number;
  /** mean absolute error of always predicting the mean of these rows */
  baseline_error: number;
  /** of predicted minus true: 5, 25, 50, 75 and 95 % */
  quantiles: number[];
  label: number[];
  predicted: number[];
  /** the largest errors first */
  examples: ScoreRow[];
}

export interface EntityRow {
  row: number;
  /** text of the user */
  text: string;
  label: Entity[];
  predicted: Entity[];
  /** text of the user */
  slice: string | null;
}

/** Errors of entities: found with another type, with other borders, not at all, or where none is. */
export interface EntityErrors {
  types: LabelFigures[];
  entity_f1: number;
  right: number;
  wrong_type: number;
  wrong_borders: number;
  wrong_type_and_borders: number;
  missed: number;
  invented: number;
  /** rows with the most errors first */
  examples: EntityRow[];
}

/** The test rows as the delivered network predicts them, without linear models that may be stacked on it; `seed` is null if it is the mean of the weights of several seeds. Of a task beyond one class for a text, one of the last three fields has them, and the confusion matrix is empty. */
export interface TestErrors {
  n: number;
  seed: number | null;
  /** text of the user */
  labels: string[];
  /** rows: the label; columns: the prediction */
  confusion: number[][];
  calibration: Calibration[];
  slices: SliceError[];
  /** two classes and at most 20,000 rows, else empty: probability of the second class, row by row, beside `label` */
  positive_probability: number[];
  label: number[];
  /** some rows of each cell of the confusion matrix, the surest mistakes first */
  examples: TestRow[];
  label_sets: LabelSetErrors | null;
  scores: ScoreErrors | null;
  entities: EntityErrors | null;
}

/** A choice; or, of a question for a number, a wrong answer that is often given, with its `value`. */
export interface Option {
  /** text of the user */
  text: string;
  value: number | null;
  is_right: boolean;
  /** text of the user */
  why: string;
  misconception: string | null;
}

/** A question whose answer is computed from this document by `expression`, in prefix form; see run_trace.expression. A choice has options; a number has an answer with a tolerance, in percent if the unit is "%". Without an expression it is a question about concepts. */
export interface Question {
  id: string;
  template: string;
  level: "easy" | "medium" | "hard";
  concept: string;
  kind: "choice" | "number";
  /** text of the user */
  prompt: string;
  options: Option[];
  answer: number | null;
  tolerance: number | null;
  unit: string | null;
  expression: unknown;
  /** JSON pointer into this document */
  pointers: string[];
  /** text of the user */
  hints: string[];
  /** text of the user */
  solution: string[];
  /** common mistakes */
  mistakes: string[];
  /** where on the page to look */
  section: string;
}

export interface Quiz {
  quiz: Question[];
  practice: Question[];
  test: Question[];
  /** asks the questions of the test in a terminal */
  command: string | null;
}

/** A sentence on the whole run; its numbers have expressions, like those of an observation. */
export interface Insight {
  rule: string;
  /** text of the user */
  sentence: string;
  numbers: Record<string, number>;
  derivations: Record<string, unknown>;
  /** JSON pointer into this document */
  pointers: string[];
}

export interface NextStep {
  sentence: string;
  command: string;
}

/** One run, from raw text to the quiz. */
export interface RunTrace {
  schema: string;
  run: RunCard;
  is_redacted: boolean;
  /** texts of the user in this document */
  excerpts: number;
  checks: Check[];
  missing: Missing[];
  stages: Stage[];
  example: Example | null;
  funnel: Funnel | null;
  tokenizer: TokenizerReport | null;
  phases: Phases;
  watched: WatchedSentence[];
  continued: ContinuedPrompt[];
  comparison: Comparison | null;
  strategies: Strategies | null;
  predictions: PredictionTrace[];
  fills: FillTrace[];
  errors: TestErrors | null;
  quiz: Quiz | null;
  insights: Insight[];
  next_step: NextStep | null;
  /** of the fine-tuned model, or without labels of the pre-trained one */
  fingerprint: string | null;
}
