import { RUN_FORMAT, type RunEvent, type ScenarioResult } from "@iommu-lab/hypervisor/scenarios";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { CommandError, ExitCode } from "../exit-code.ts";

/** The event file of a run: JSON Lines, the format first and the result last; with a name that ends in .gz compressed. */
export class RunTraceFile {
  readonly #path: string;
  readonly #lines: string[] = [JSON.stringify(RUN_FORMAT)];

  constructor(path: string) {
    this.#path = path;
  }

  add(event: RunEvent): void {
    this.#lines.push(JSON.stringify(event));
  }

  /** Writes the file. @throws CommandError when it cannot be written */
  close(result: ScenarioResult): void {
    const text = `${[...this.#lines, JSON.stringify({ kind: "result", result })].join("\n")}\n`;
    try {
      writeFileSync(this.#path, this.#path.endsWith(".gz") ? gzipSync(text) : text);
    } catch (error) {
      throw new CommandError(ExitCode.BadInput, `${this.#path} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
