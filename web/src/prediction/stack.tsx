// Stop 6, if linear models are stacked on the network: what each part adds to the decision, and the words behind it.
import { Bars } from "../charts/bars.tsx";
import { Table } from "../charts/figure.tsx";
import { percent, probability } from "../format.ts";
import { UserText } from "../text.tsx";
import type { PredictionTrace, StackedDecision } from "../trace.ts";
import { agrees, largestDifference, returned, sigmoid, softmax, stackedParts, stackedSums } from "./arithmetic.ts";
import { addedWriter, difference } from "./figures.ts";
import { Holds, Stop } from "./stop.tsx";

export function StackStop({ prediction, stack }: { prediction: PredictionTrace; stack: StackedDecision }) {
  const parts = stackedParts(prediction.task, stack);
  const names = parts.map((part) => part.name).filter((name) => name !== "network" && name !== "bias");
  const { label } = returned(prediction);
  const write = addedWriter(prediction.task === "regression");
  const { label: alone } = returned({ ...prediction, stack: null });
  return (
    <Stop
      number={6}
      isLast
      title={`With ${names.join(" + ")}`}
      note={`The prediction that is returned. Beside the network, linear models were trained on the same rows; validation gave each part a weight, and the weighted parts are added. ${WHAT[prediction.task] ?? WHAT.classification}`}
      check={<Check prediction={prediction} stack={stack} />}
    >
      <div class="decision">
        <p class="decided">
          <UserText text={label} limit={120} />
          {(prediction.task === "classification" || prediction.task === "tokens") && <>, {probability(stack.probability)}</>}
          {label !== alone && (
            <small>
              Unlike the network alone: “<UserText text={alone} limit={80} />”.
            </small>
          )}
        </p>
        <Bars
          label="What each part adds"
          bars={parts.map(({ name, value, fraction }) => ({
            name,
            value: fraction ?? 0,
            written: fraction === null ? write(value) : `${write(value)}, ${percent(fraction)}`,
            isAccent: value > 0,
          }))}
        />
        {stack.ngrams.length > 0 && <Words prediction={prediction} stack={stack} />}
      </div>
    </Stop>
  );
}

const WHAT: Record<string, string> = {
  classification: "The bars are what each adds to the lead of the label over the next class, as a fraction of all that is added or taken away.",
  tokens: "The bars are what each adds to the lead of the word’s label over the next one. The tagger’s score of a label is how much lower the best labelling of the whole text scores if the word has that label. The entities that are returned come from the likeliest sequence of labels over all words.",
  multilabel: "The bars are what each adds to the log-odds of the label that is furthest above its threshold.",
  regression: "The bars are what each adds to the number for an average text, the bias.",
};

function Check({ prediction, stack }: { prediction: PredictionTrace; stack: StackedDecision }) {
  if (prediction.task === "regression") return null;
  const sums = stackedSums(stack);
  const computed = prediction.task === "multilabel" ? sigmoid(sums) : softmax(sums);
  return (
    <Holds isOk={agrees(computed, stack.probabilities, 1e-4)}>
      the parts were added again in this browser, difference {difference(largestDifference(computed, stack.probabilities))}
    </Holds>
  );
}

function Words({ prediction, stack }: { prediction: PredictionTrace; stack: StackedDecision }) {
  const rows = stackedParts(prediction.task, { ...stack, parts: stack.ngrams.map(({ logits }) => ({ name: "", logits })) });
  const write = addedWriter(prediction.task === "regression");
  return (
    <Table
      caption={prediction.task === "tokens" ? "The largest features of the word" : "The largest words and pairs of words of the linear models"}
      rows={stack.ngrams.map(({ ngram, part }, index) => ({ ngram, part, value: rows[index]?.value ?? 0 }))}
      columns={[
        { name: prediction.task === "tokens" ? "Feature" : "Word or pair", value: (row) => <UserText text={row.ngram} limit={40} /> },
        { name: "Part", value: (row) => row.part },
        { name: "Adds", value: (row) => write(row.value), isNumber: true },
      ]}
    />
  );
}
