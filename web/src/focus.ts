/** Focuses what a button has just added, once it is drawn: a button that vanishes would take the focus with it. */
export function focusAdded(find: () => HTMLElement | null | undefined): void {
  requestAnimationFrame(() => {
    const added = find();
    if (!added) return;
    if (!added.hasAttribute("tabindex")) added.tabIndex = -1;
    added.focus();
  });
}
