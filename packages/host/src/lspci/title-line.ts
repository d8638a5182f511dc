const TITLE = /^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])\s+(\S.*)$/i;
const GROUP_HEADING = /^\s*IOMMU Group (\d+)\s*:?\s*(.*)$/i;

/** Address and rest of a line that starts a function. */
export const matchTitleLine = (line: string): RegExpExecArray | null => {
  const match = TITLE.exec(line);
  // The form is "class: name"; a log or a listing that starts with an address is not a title.
  return match && /[:\]]/.test(match[2] ?? "") && !/^\d+ |^->|^\//.test(match[2] ?? "") ? match : null;
};

/** Number and rest of "IOMMU Group 1:", alone or with a function behind it, as the widespread listing scripts print it. */
export const matchGroupHeading = (line: string): RegExpExecArray | null => GROUP_HEADING.exec(line);
