import { redactText } from "@iommu-lab/host";

/** The machine's name in a line of syslog or journalctl, and in what `uname -a` prints. */
const LOGGED = /^((?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.+-]{8,24}) )(?!host )(\S{1,80})(?= kernel: )/gm;
const NAMED = /^(Linux )(?!version |host )(\S{1,80})(?= \d+\.\d+\.\d)/gm;

/** A text without serial numbers, MAC addresses and the machine's name, and how many there were. */
export const redactPaste = (text: string): { readonly text: string; readonly count: number } => {
  const { text: blanked, count } = redactText(text);
  let names = 0;
  const unnamed = (_whole: string, before: string): string => {
    names++;
    return `${before}host`;
  };
  return { text: blanked.replace(LOGGED, unnamed).replace(NAMED, unnamed), count: count + names };
};
