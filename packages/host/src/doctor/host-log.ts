import { seen, type DoctorEvidence } from "./rule.ts";

/** Characters of a line that are looked at, and that are shown. */
const LINE_LIMIT = 2048;
const SHOWN = 240;

/** A kernel log that can be searched. */
export class HostLog {
  readonly lines: readonly string[];
  readonly #source: string;

  constructor(text: string, source: string) {
    this.lines = text.split("\n");
    this.#source = source;
  }

  /** The log begins where the kernel did: what is not in it was not said at boot. Else the ring buffer may have lost it. */
  get hasBoot(): boolean {
    return this.lines.some((line) => /Linux version \d/.test(line.slice(0, LINE_LIMIT)));
  }

  /** The first line that matches, with its number. */
  find(pattern: RegExp): DoctorEvidence | undefined {
    const at = this.lines.findIndex((line) => pattern.test(line.slice(0, LINE_LIMIT)));
    return at < 0 ? undefined : seen(this.#source, (this.lines[at] as string).slice(0, SHOWN).trim(), at + 1);
  }
}
