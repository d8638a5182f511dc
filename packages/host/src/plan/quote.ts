/** A word of a shell command, in single quotes where it needs them. */
export const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** A YAML scalar: JSON's strings are YAML's double-quoted ones, but for three characters that end a YAML line. */
export const yamlString = (text: string): string => JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A Nix string: "${" would start an expression. */
export const nixString = (text: string): string => `"${text.replace(/[\\"]/g, "\\$&").replaceAll("${", "\\${").replaceAll("\n", "\\n")}"`;

/** A stranger's words on one line of a comment or of Markdown: nothing that ends the line or starts markup. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
export const plainWords = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029`<>[\]\\]/g, "?").slice(0, 400);
