import { typeset } from "../format.ts";
import { LEFT_OUT, Sentence, UserText } from "../text.tsx";

/** A text of the quiz, which may quote the user: what stands between backticks is code. */
export function QuizText({ text }: { text: string }) {
  if (text === LEFT_OUT) return <UserText text={text} />;
  const parts = text.split("`");
  if (parts.length % 2 === 0) return <Sentence text={typeset(text)} />;
  return (
    <>
      {parts.map((part, index) =>
        index % 2 === 1 ? (
          <code key={index}>
            <UserText text={part} />
          </code>
        ) : (
          part !== "" && <Sentence key={index} text={typeset(part)} />
        ),
      )}
    </>
  );
}
