/** An element: name, attributes (undefined ones are left out), children. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly children: readonly (XmlElement | string)[];
}

type Child = XmlElement | string | undefined | readonly (XmlElement | string | undefined)[];

const isElement = (child: XmlElement | string | undefined): child is XmlElement | string => child !== undefined;

/** Makes an element; children that are undefined are left out, lists are taken apart. */
export const element = (name: string, attributes: XmlElement["attributes"] = {}, ...children: readonly Child[]): XmlElement => ({ name, attributes, children: children.flat().filter(isElement) });

/** Characters that XML 1.0 forbids even escaped (§2.2) become U+FFFD; lone surrogates too. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const NAMES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", "\"": "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;" };

const escaped = (text: string): string => text.replace(FORBIDDEN, "\ufffd").replace(/[&<>'"\n\r\t]/g, (character) => NAMES[character] ?? character);

const lines = ({ name, attributes, children }: XmlElement, indent: string): string[] => {
  const open = `${indent}<${name}${Object.entries(attributes).map(([key, value]) => (value === undefined ? "" : ` ${key}='${escaped(value)}'`)).join("")}`;
  const [only] = children;
  if (only === undefined) return [`${open}/>`];
  if (children.length === 1 && typeof only === "string") return [`${open}>${escaped(only)}</${name}>`];
  return [`${open}>`, ...children.flatMap((child) => (typeof child === "string" ? [`${indent}  ${escaped(child)}`] : lines(child, `${indent}  `))), `${indent}</${name}>`];
};

/** A whole document. */
export const xmlDocument = (root: XmlElement): string => `${lines(root, "").join("\n")}\n`;
