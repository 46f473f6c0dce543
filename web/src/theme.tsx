import { useState } from "preact/hooks";

const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];
const KEY = "pretune-theme";

function stored(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? "auto";
  } catch {
    return "auto"; // a browser may refuse storage to a file
  }
}

function apply(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Sets the theme that was chosen before, so that the page does not flash in another one. */
export function applyStoredTheme(): void {
  apply(stored());
}

/** Auto follows the system. */
export function ThemeSwitch() {
  const [theme, setTheme] = useState<Theme>(stored);
  const choose = (chosen: Theme) => {
    setTheme(chosen);
    apply(chosen);
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // the choice then lasts as long as the page
    }
  };
  return (
    <fieldset class="switch theme-switch">
      <legend class="unseen">Colours</legend>
      {THEMES.map((name) => (
        <label>
          <input type="radio" name="theme" checked={theme === name} onChange={() => choose(name)} />
          <span>{name.charAt(0).toUpperCase() + name.slice(1)}</span>
        </label>
      ))}
    </fieldset>
  );
}
