/** Makes an element. Text becomes text nodes only: nothing from a host's files, or an address, is ever read as markup. */
export const element = <K extends keyof HTMLElementTagNameMap>(tag: K, content: string | readonly Node[], className?: string): HTMLElementTagNameMap[K] => {
  const made = document.createElement(tag);
  if (className !== undefined) made.className = className;
  made.append(...(typeof content === "string" ? [content] : content));
  return made;
};
