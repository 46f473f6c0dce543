// Stop 2: the rows of the embedding table that the tokens stand for.
import { extent, max } from "../charts/extent.ts";
import { scaleLinear, scaleLog } from "../charts/scale.ts";
import { behindLabels, tickWriter } from "../charts/ticks.ts";

import { Figure, Plot, Table } from "../charts/figure.tsx";
import { count, fixed, percent } from "../format.ts";
import { UserText } from "../text.tsx";
import type { Pca, PredictionTrace } from "../trace.ts";
import { rankCorrelation } from "./arithmetic.ts";
import { plainText, plainWidth, surfaceOf } from "./figures.ts";
import { Stop } from "./stop.tsx";
import type { Selection } from "./tokens.tsx";

const HEIGHT = 250;
const FONT_HEIGHT = 13;

interface EmbeddingProps extends Pick<Selection, "selected"> {
  prediction: PredictionTrace;
  isRedacted: boolean;
}

export function EmbeddingStop({ prediction, isRedacted, selected }: EmbeddingProps) {
  const { embedding, head } = prediction;
  const token = prediction.tokens[selected];
  const lengths = lengthPoints(prediction);
  return (
    <Stop
      number={2}
      title="Embedding"
      note={`Each token becomes a vector of ${count(head.pooled.length)} numbers, the same wherever it stands.${isRedacted ? " The vectors are left out of this file, since a vector tells which token it stands for." : ""}`}
    >
      <div class="g2">
        {lengths.length > 0 && <LengthFigure points={lengths} selectedId={token?.id ?? null} />}
        {embedding.pca && embedding.pca.points.length > 0 && (
          <PcaFigure pca={embedding.pca} selectedPosition={token?.position ?? null} />
        )}
      </div>
    </Stop>
  );
}

interface LengthPoint {
  id: number;
  surface: string;
  count: number;
  norm: number;
}

/** One point per different token whose count is known. */
function lengthPoints(prediction: PredictionTrace): LengthPoint[] {
  const points = new Map<number, LengthPoint>();
  prediction.tokens.forEach((token, index) => {
    const norm = prediction.embedding.norms[index];
    if (token.id === null || token.count === null || token.is_special || norm === undefined) return;
    points.set(token.id, { id: token.id, surface: token.surface, count: token.count, norm });
  });
  return [...points.values()];
}

function LengthFigure({ points, selectedId }: { points: LengthPoint[]; selectedId: number | null }) {
  const most = Math.max(10, max(points, (point) => point.count) ?? 10);
  const longest = (max(points, (point) => point.norm) ?? 1) * 1.08;
  return (
    <Figure
      title="Length of the vectors"
      sentence={lengthSentence(points)}
      table={
        <Table
          caption="Length of the vector of each different token"
          rows={points}
          columns={[
            { name: "Token", value: (point) => <UserText text={surfaceOf(point.surface)} limit={60} /> },
            { name: "Times in training text", value: (point) => count(point.count), isNumber: true },
            { name: "Length", value: (point) => fixed(point.norm, 3), isNumber: true },
          ]}
        />
      }
    >
      <Plot
        height={HEIGHT}
        draw={(width) => {
          const y = scaleLinear([0, longest], [HEIGHT - 36, 8]);
          const levels = y.ticks(4);
          const write = tickWriter(levels);
          const left = behindLabels(levels, write, 34);
          const x = scaleLog([1, most * 1.5], [left, width - 8]);
          return (
            <>
              {levels.map((tick) => (
                <g>
                  <line class={tick === 0 ? "axis" : "grid"} x1={left} x2={width} y1={y(tick)} y2={y(tick)} />
                  <text x={left - 8} y={y(tick) + 4} text-anchor="end">
                    {write(tick)}
                  </text>
                </g>
              ))}
              {powersOfTen(most).map((tick) => (
                <text x={x(tick)} y={HEIGHT - 20} text-anchor="middle">
                  {count(tick)}
                </text>
              ))}
              <text x={width} y={HEIGHT - 3} text-anchor="end">
                times in the training text
              </text>
              <LabelledPoints
                width={width}
                points={points.map((point) => ({
                  x: x(Math.max(1, point.count)),
                  y: y(point.norm),
                  name: surfaceOf(point.surface),
                  isSelected: point.id === selectedId,
                }))}
              />
            </>
          );
        }}
      />
    </Figure>
  );
}

function powersOfTen(most: number): number[] {
  const powers = Array.from({ length: Math.floor(Math.log10(most)) + 1 }, (_, power) => 10 ** power);
  return powers.length > 4 ? powers.filter((_, index) => (powers.length - 1 - index) % 2 === 0) : powers;
}

/** What this text shows of length and frequency: a rule over the rank correlation, no general truth. */
function lengthSentence(points: LengthPoint[]): string {
  const correlation = rankCorrelation(points.map((point) => point.count), points.map((point) => point.norm));
  if (correlation === null || points.length < 5) return "The length of a vector is not the importance of its token.";
  const measured = `rank correlation ${fixed(correlation, 2)}`;
  if (Math.abs(correlation) < 0.3) {
    return `In this text the length does not follow the frequency (${measured}), and it is not importance either.`;
  }
  return `In this text frequent tokens have ${correlation > 0 ? "longer" : "shorter"} vectors (${measured}), so length is not importance.`;
}

function PcaFigure({ pca, selectedPosition }: { pca: Pca; selectedPosition: number | null }) {
  const explained = pca.variance.reduce((sum, fraction) => sum + fraction, 0);
  const around = pca.points.filter((point) => point.position === null);
  const own = distinctPoints(pca, selectedPosition);
  return (
    <Figure
      title={`Two components, ${percent(explained)} of the variance`}
      sentence={`Fitted on ${pca.fitted_on}. What is near here may be far apart in the other ${percent(1 - explained)}.`}
      table={
        <Table
          caption="Two components of the embedding"
          rows={own}
          columns={[
            { name: "Token", value: (point) => <UserText text={surfaceOf(point.surface)} limit={60} /> },
            { name: "First", value: (point) => fixed(point.x, 2), isNumber: true },
            { name: "Second", value: (point) => fixed(point.y, 2), isNumber: true },
          ]}
        />
      }
    >
      <Plot
        height={HEIGHT}
        draw={(width) => {
          const x = scaleLinear(spread(pca.points.map((point) => point.x)), [8, width - 8]);
          const y = scaleLinear(spread(pca.points.map((point) => point.y)), [HEIGHT - 10, 10]);
          return (
            <>
              <line class="grid" x1={0} x2={width} y1={y(0)} y2={y(0)} />
              <line class="grid" x1={x(0)} x2={x(0)} y1={4} y2={HEIGHT - 4} />
              {around.map((point) => (
                <circle class="around" cx={x(point.x)} cy={y(point.y)} r={2} />
              ))}
              <LabelledPoints
                width={width}
                points={own.map((point) => ({
                  x: x(point.x),
                  y: y(point.y),
                  name: surfaceOf(point.surface),
                  isSelected: point.position === selectedPosition,
                }))}
              />
            </>
          );
        }}
      />
    </Figure>
  );
}

/** The tokens of the text without repetitions; of several equal ones the selected one stays. */
function distinctPoints(pca: Pca, selectedPosition: number | null): Pca["points"] {
  const points = new Map<string, Pca["points"][number]>();
  for (const point of pca.points) {
    if (point.position === null) continue;
    const key = `${point.surface} ${point.x} ${point.y}`;
    if (!points.has(key) || point.position === selectedPosition) points.set(key, point);
  }
  return [...points.values()];
}

function spread(values: number[]): [number, number] {
  const [low = 0, high = 1] = extent(values) as [number, number];
  return low === high ? [low - 1, high + 1] : [low, high];
}

interface PlacedPoint {
  x: number;
  y: number;
  name: string;
  isSelected: boolean;
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Points with their names beside them. A name that would lie on another name or point is left out, as are signs. */
function LabelledPoints({ points, width }: { points: PlacedPoint[]; width: number }) {
  const order = [...points].sort((a, b) => Number(b.isSelected) - Number(a.isSelected));
  const taken: Box[] = points.map(({ x, y }) => ({ left: x - 3, right: x + 3, top: y - 3, bottom: y + 3 }));
  const named = new Set<string>();
  const labels = order.map((point) => {
    if (named.has(point.name) || !/[\p{L}\p{N}]/u.test(point.name)) return null;
    const label = place(point, taken, width);
    if (label) named.add(point.name);
    return label;
  });
  return (
    <>
      {order.map((point) => (
        <circle class={point.isSelected ? "own is-accent" : "own"} cx={point.x} cy={point.y} r={point.isSelected ? 4.5 : 2.75} />
      ))}
      {order.map((point, index) => {
        const label = labels[index];
        return (
          label && (
            <text
              class={point.isSelected ? "accent halo" : "name halo"}
              x={label.right > point.x + 8 ? label.left : label.right}
              y={label.bottom - 3}
              text-anchor={label.right > point.x + 8 ? "start" : "end"}
            >
              {plainText(point.name)}
            </text>
          )
        );
      })}
    </>
  );
}

function place(point: PlacedPoint, taken: Box[], width: number): Box | null {
  const room = plainWidth(plainText(point.name));
  const top = point.y - FONT_HEIGHT / 2;
  const sides = [point.x + 7, point.x - 7 - room];
  for (const left of sides) {
    const box = { left, right: left + room, top, bottom: top + FONT_HEIGHT };
    const isFree = left >= 0 && box.right <= width && !taken.some((other) => overlaps(box, other));
    if (isFree || (point.isSelected && left >= 0 && box.right <= width)) {
      taken.push(box);
      return box;
    }
  }
  return null;
}

function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
