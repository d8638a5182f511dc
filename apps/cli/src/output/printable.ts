/** Text from a stranger's file without control characters: nothing that a terminal would obey, no line of its own. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
export const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, "?");
