import type { IommuFault } from "@iommu-lab/pci-bus";
import { parseMachine, type MachineDescription, type MachineInput } from "@iommu-lab/pci-bus/machine";
import { Machine, type MachineOptions } from "../machine/machine.ts";
import { canonicalJson } from "./canonical.ts";
import { SeededRandom } from "./random.ts";
import type { RunEvent } from "./run-schema.ts";
import { faultWords, watchMachine } from "./run-watch.ts";
import type { Assertion, ModelledTimes, Plain, ScenarioFault } from "./scenario.ts";

/** What a stage tells while a scenario runs. */
export interface Audience {
  /** Takes every event, in order; without it none is made. */
  readonly event?: (event: RunEvent) => void;
  /** Told how far a long scenario is. */
  readonly progress?: (done: number, of: number) => void;
  /** Stands between a machine and its IOMMUs, for a machine trace. */
  readonly machine?: (name: string, description: MachineDescription) => MachineOptions;
}

/** Where a scenario plays: it makes machines, tells the story, and notes what holds. */
export class Stage {
  readonly vendor: "intel" | "amd";
  readonly seed: number;
  readonly random: SeededRandom;
  readonly assertions: Assertion[] = [];
  readonly counts: Record<string, number> = {};
  readonly story: string[] = [];
  /** Set by `model`. */
  times: ModelledTimes | undefined;
  readonly #without: ReadonlySet<string>;
  readonly #audience: Audience;
  readonly #machines: { readonly name: string; readonly machine: Machine }[] = [];

  constructor(vendor: "intel" | "amd", seed: number, without: ReadonlySet<string>, audience: Audience) {
    this.vendor = vendor;
    this.seed = seed;
    this.random = new SeededRandom(seed);
    this.#without = without;
    this.#audience = audience;
  }

  /** Whether a protection of the scenario is in place. */
  has(protection: string): boolean {
    return !this.#without.has(protection);
  }

  /** A line of the story. The same words for both vendors. */
  say(text: string): void {
    this.story.push(text);
    this.#tell({ kind: "say", text });
  }

  /**
   * Notes a statement.
   * @param id   what it is called in the result
   * @param what `expected` follows from the inputs alone, `actual` is what was seen
   */
  check(id: string, what: { readonly protected: boolean; readonly expected: Plain; readonly actual: Plain }): void {
    const assertion: Assertion = { id, protected: what.protected, expected: what.expected, actual: what.actual, ok: canonicalJson(what.expected) === canonicalJson(what.actual) };
    this.assertions.push(assertion);
    this.#tell({ kind: "check", ...assertion });
  }

  /** Adds to a count. */
  count(name: string, by = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + by;
  }

  /** Gives the times that a cost model makes of the counts. */
  model(times: ModelledTimes): void {
    this.times = times;
  }

  progress(done: number, of: number): void {
    this.#audience.progress?.(done, of);
  }

  /** Builds a machine of the stage's vendor and watches it. The description's IOMMUs say no vendor. */
  machine(name: string, input: Omit<MachineInput, "format" | "version" | "name" | "iommus"> & { readonly iommus: readonly Omit<MachineInput["iommus"][number], "vendor">[] }, options: MachineOptions = {}): Machine {
    const iommus = input.iommus.map((each) => ({ ...each, vendor: this.vendor }));
    return this.build(name, parseMachine({ ...input, format: "iommu-lab-machine", version: 1, name, iommus }), options);
  }

  /** Builds a machine from a whole description and watches it. */
  build(name: string, description: MachineDescription, options: MachineOptions = {}): Machine {
    const index = this.#machines.length;
    const { event } = this.#audience;
    const given = this.#audience.machine?.(name, description) ?? {};
    this.#tell({ kind: "machine", machine: index, name, description: { ...description } });
    const watched = event ? watchMachine(index, () => this.#now(index), event) : {};
    const machine = new Machine(description, { ...options, ...watched, ...given, ...behind(options.iommu, given.iommu) });
    this.#machines.push({ name, machine });
    return machine;
  }

  /** Everything that the machines' IOMMUs reported, machine by machine. */
  faults(): ScenarioFault[] {
    return this.#machines.flatMap(({ name, machine }) => {
      machine.kernel.service();
      return machine.kernel.faults.map((fault) => faultOf(name, fault));
    });
  }

  #now(index: number): number {
    return this.#machines[index]?.machine.clock.now ?? 0;
  }

  #tell(event: RunEvent): void {
    this.#audience.event?.(event);
  }
}

/** What listens stands in front of what the scenario put in an IOMMU's place: it does not take that away. */
const behind = (own: MachineOptions["iommu"], listener: MachineOptions["iommu"]): Pick<MachineOptions, "iommu"> =>
  own && listener ? { iommu: (unit) => listener({ ...unit, iommu: own(unit) }) } : {};

const faultOf = (machine: string, fault: IommuFault): ScenarioFault => ({ machine, ...faultWords(fault) });
