// The token of the live server. It stands in the address behind the #, which browsers send to nobody.

const KEY = "pretune-token";

/** The token, or null. It moves into the session of the tab, so that links within the page may use the address. */
export function readToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (token !== null) {
      sessionStorage.setItem(KEY, token);
      history.replaceState(null, "", location.pathname);
    }
    return token ?? sessionStorage.getItem(KEY);
  } catch {
    return token;
  }
}

/** What every request to the live server carries; another site can neither know nor send it. */
export function tokenHeader(): Record<string, string> {
  return { "X-Pretune-Token": readToken() ?? "" };
}
