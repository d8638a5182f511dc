/** What `--from` takes, for messages. */
export const SOURCES = "a snapshot (.tar, .tar.gz), a folder that mirrors /sys, lspci text, or - for standard input";
