import { typeset } from "../format.ts";
import { UserText } from "../text.tsx";

/** A text of the quiz, which may quote the user: what stands between backticks is code. */
export function QuizText({ text }: { text: string }) {
  const parts = text.split("`");
  if (parts.length % 2 === 0) return <UserText text={typeset(text)} limit={3000} />;
  return (
    <>
      {parts.map((part, index) =>
        index % 2 === 1 ? (
          <code key={index}>
            <UserText text={part} />
          </code>
        ) : (
          part !== "" && <UserText key={index} text={typeset(part)} limit={3000} />
        ),
      )}
    </>
  );
}
