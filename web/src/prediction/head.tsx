// Stop 4: the arithmetic of the head, carried out again in the browser.
import { scaleLinear } from "../charts/scale.ts";

import { Figure, Plot, Table } from "../charts/figure.tsx";
import { Fold } from "../fold.tsx";
import { count, fixed, signed } from "../format.ts";
import { UserText } from "../text.tsx";
import type { Head, PredictionTrace } from "../trace.ts";
import { agrees, headLogits, headProducts, largestDifference, rivalOf, rivalsOf, type Product } from "./arithmetic.ts";
import { difference, plainText } from "./figures.ts";
import { Holds, Stop } from "./stop.tsx";

const HEIGHT = 170;
const TABLE_ROWS = 20;

export function HeadStop({ prediction }: { prediction: PredictionTrace }) {
  const { head, decision, label_names: names } = prediction;
  const logits = headLogits(head);
  const rival = rivalOf(prediction);
  const isWord = prediction.task === "tokens";
  const products = headProducts(head, decision.index, rival);
  return (
    <Stop
      number={4}
      title="Head"
      note={`The ${isWord ? "vector of the word’s first token" : prediction.read_position === null ? "mean vector of the tokens" : "vector of [MASK]"} times one row of weights per ${prediction.task === "classification" ? "class" : "output"}, plus a bias.`}
      check={
        <Holds isOk={agrees(logits, head.logits)}>
          computed again in this browser, difference {difference(largestDifference(logits, head.logits))}
        </Holds>
      }
    >
      {products.length > 0 && (
        <Figure
          title={`${count(products.length)} products that make the ${rival === null ? "output" : "margin"}`}
          sentence={skylineSentence(products, head, decision.index, rival)}
        >
          <Plot
            height={HEIGHT}
            label={`The ${count(products.length)} products, largest first; the largest are in the table below.`}
            draw={(width) => <Skyline products={products} width={width} />}
          />
          <Fold name="Table of the largest products">
            <ProductTable products={products} weight={rival === null ? "Weight" : "Difference of weights"} />
          </Fold>
        </Figure>
      )}
      <SumTable head={head} logits={logits} names={names} label={decision.index} isClass={prediction.task === "classification"} />
    </Stop>
  );
}

function skylineSentence(products: Product[], head: Head, label: number, rival: number | null): string {
  const sum = products.reduce((total, { product }) => total + product, 0);
  const bias = (head.bias[label] ?? 0) - (rival === null ? 0 : (head.bias[rival] ?? 0));
  const positive = products.filter(({ product }) => product > 0).length;
  return (
    `Each bar is one number of the vector times ${rival === null ? "its weight" : "the difference of the two weights"}, largest first; ` +
    `${count(positive)} are above zero. Together they are ${signed(sum)}, and the ${rival === null ? "bias adds" : "biases add"} ${signed(bias)}: ${signed(sum + bias)}.`
  );
}

function Skyline({ products, width }: { products: Product[]; width: number }) {
  const largest = products[0]?.product ?? 0;
  const smallest = products.at(-1)?.product ?? 0;
  const y = scaleLinear([Math.min(0, smallest), Math.max(0, largest)], [HEIGHT - 24, 24]);
  const step = width / Math.max(1, products.length);
  const first = products[0];
  const last = products.at(-1);
  const gap = step > 3 ? 1 : 0;
  return (
    <>
      {products.map(({ product }, index) => (
        <rect
          class={product >= 0 ? "for" : "against"}
          x={index * step}
          width={Math.max(0.5, step - gap)}
          y={Math.min(y(0), y(product))}
          height={Math.abs(y(product) - y(0))}
        />
      ))}
      <line class="axis" x1={0} x2={width} y1={y(0)} y2={y(0)} />
      {first && first.product > 0 && (
        <text class="ink" x={0} y={14}>
          component {first.component}: {signed(first.product)}
        </text>
      )}
      {last && last.product < 0 && (
        <text class="ink" x={width} y={HEIGHT - 6} text-anchor="end">
          component {last.component}: {signed(last.product)}
        </text>
      )}
    </>
  );
}

function ProductTable({ products, weight: name }: { products: Product[]; weight: string }) {
  const half = TABLE_ROWS / 2;
  const rows = products.length <= TABLE_ROWS ? products : [...products.slice(0, half), ...products.slice(-half)];
  return (
    <Table
      caption="Products of the head with the largest size"
      rows={rows}
      columns={[
        { name: "Component", value: ({ component }) => component, isNumber: true },
        { name: "Vector", value: ({ pooled }) => signed(pooled, 3), isNumber: true },
        { name, value: ({ weight }) => signed(weight, 3), isNumber: true },
        { name: "Product", value: ({ product }) => signed(product, 3), isNumber: true },
      ]}
    />
  );
}

function SumTable(props: { head: Head; logits: number[]; names: string[]; label: number; isClass: boolean }) {
  const { head, logits, names, label, isClass } = props;
  const shown = [label, ...rivalsOf(head.logits, label)];
  return (
    <div>
      <table class="sums">
        <caption class="unseen">The sum of the head, per output</caption>
        <thead>
          <tr>
            <th scope="col">{isClass ? "Class" : "Output"}</th>
            <th scope="col" class="number">products</th>
            <th scope="col" class="number">+ bias</th>
            <th scope="col" class="number">= logit</th>
            <th scope="col" class="number">by the model</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((index) => (
            <tr>
              <th scope="row">
                <UserText text={names[index] ?? plainText(String(index))} limit={60} />
              </th>
              <td class="number">{fixed((logits[index] ?? 0) - (head.bias[index] ?? 0), 4)}</td>
              <td class="number">{signed(head.bias[index] ?? 0, 4)}</td>
              <td class="number">{fixed(logits[index] ?? 0, 4)}</td>
              <td class="number">{fixed(head.logits[index] ?? 0, 4)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {names.length > shown.length && (
        <p class="note">
          The label and its nearest rivals; the check was made for all {count(names.length)} classes.
        </p>
      )}
    </div>
  );
}
