import { extname } from "node:path";
import type { MachineOptions } from "@iommu-lab/hypervisor/machine";
import { UnitRecorder } from "@iommu-lab/hypervisor/replay";
import { openTrace } from "../guest/trace-file.ts";

/** "run.jsonl.gz" and 2 give "run-2.jsonl.gz". */
const numbered = (path: string, number: number): string => {
  const packed = path.endsWith(".gz") ? ".gz" : "";
  const bare = path.slice(0, path.length - packed.length);
  const ending = extname(bare);
  return `${bare.slice(0, bare.length - ending.length)}-${number}${ending}${packed}`;
};

/** Machine traces of a run, one for each IOMMU of its machines: how many there are shows when the run is over. */
export class MachineTraceFiles {
  readonly #path: string;
  readonly #traces: string[][] = [];
  /** What makes a machine record itself. */
  readonly options: MachineOptions = {
    taps: (_iommu, memory, ram) => {
      const lines: string[] = [];
      this.#traces.push(lines);
      return new UnitRecorder(memory, ram, (line) => lines.push(line));
    },
  };

  constructor(path: string) {
    this.#path = path;
  }

  /** Writes the files. @returns their names, in the order of the IOMMUs @throws CommandError when one cannot be written */
  close(): string[] {
    return this.#traces.map((lines, i) => {
      const path = this.#traces.length === 1 ? this.#path : numbered(this.#path, i + 1);
      const file = openTrace(path);
      for (const line of lines) file.line(line);
      file.close();
      return path;
    });
  }
}
