import { useRef, useState } from "preact/hooks";

/** A command to copy. Where the browser does not let a page copy, the text is selected instead. */
export function Command({ text }: { text: string }) {
  const code = useRef<HTMLElement>(null);
  const [said, setSaid] = useState("Copy");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      if (code.current) getSelection()?.selectAllChildren(code.current);
      setSaid("Selected");
    }
    setTimeout(() => setSaid("Copy"), 2000);
  };
  return (
    <div class="command">
      <code ref={code}>
        {text.split(/(?<= )/).map((word) => (
          <span>{word}</span>
        ))}
      </code>
      <button type="button" class="button" onClick={copy}>
        <span aria-live="polite">{said}</span>
        <span class="unseen"> the command</span>
      </button>
    </div>
  );
}
