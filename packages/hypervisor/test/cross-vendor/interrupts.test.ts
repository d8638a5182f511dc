/** The same interrupt entries through `IommuDriver` on both vendors' hardware deliver the same interrupts. */
import { DeliveryMode, IommuDriverError, requesterId, type Interrupt, type InterruptEntry, type InterruptMessage } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interruptSides, type Side, type Sides } from "./machines.ts";

/** Machines take their time to make. */
const RUNS = process.env.IOMMU_LAB_FULL ? 200 : 15;
const TIMEOUT = 300_000;

const REQUESTERS = [requesterId(0, 3, 0), requesterId(1, 0, 1), requesterId(0x80, 20, 7)];

type Step =
  | { readonly do: "allocate"; readonly requester: number; readonly interrupt: Interrupt }
  | { readonly do: "retarget"; readonly entry: number; readonly interrupt: Interrupt }
  | { readonly do: "free"; readonly entry: number }
  | { readonly do: "forge"; readonly entry: number; readonly requester: number }
  | { readonly do: "restart" };

/** Entries of both kinds have fixed and arbitrated interrupts in common. */
const interruptOf = (x2apic: boolean): fc.Arbitrary<Interrupt> =>
  fc.record({
    vector: fc.integer({ min: 0, max: 255 }),
    deliveryMode: fc.constantFrom(DeliveryMode.Fixed, DeliveryMode.LowestPriority),
    // One bit more than fits, now and then.
    destination: fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 0, max: x2apic ? 0xffff_ffff : 0xff }) }, { weight: 1, arbitrary: fc.constant(x2apic ? 2 ** 32 : 256) }),
    destinationMode: fc.constantFrom("physical", "logical"),
    trigger: fc.constantFrom("edge", "level"),
    redirectionHint: fc.boolean(),
  });

const historyOf = (x2apic: boolean): fc.Arbitrary<readonly Step[]> => {
  const requester = fc.nat(REQUESTERS.length - 1);
  const entry = fc.nat(30);
  const interrupt = interruptOf(x2apic);
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant("allocate" as const), requester, interrupt }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("retarget" as const), entry, interrupt }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("free" as const), entry }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("forge" as const), entry, requester }) },
    { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
  );
  return fc.array(step, { minLength: 5, maxLength: 60, size: "max" });
};

/** What becomes of a message: the interrupts delivered. */
const send = ({ iommu }: Side, message: Readonly<InterruptMessage>): readonly Interrupt[] => {
  const delivered: Interrupt[] = [];
  const verdict = { fault: 0, recorded: false };
  iommu.remapInterrupt(message, { deliver: (interrupt) => void delivered.push({ ...interrupt }), post: () => undefined }, verdict);
  if (delivered.length === 0 && verdict.fault === 0) throw new Error("What is blocked has a fault code.");
  return delivered;
};

const FIELDS = ["vector", "deliveryMode", "destination", "destinationMode", "trigger", "redirectionHint"] as const satisfies readonly (keyof Interrupt)[];
const isSame = (a: Interrupt, b: Interrupt): boolean => FIELDS.every((field) => a[field] === b[field]);

/** An entry of both machines, and what it stands for; nothing once it is free. */
interface Held {
  readonly requester: number;
  readonly entries: readonly InterruptEntry[];
  interrupt: Interrupt | undefined;
}

/** A refusal's code, or what the work came to. */
const attempt = <T>(work: () => T): T | IommuDriverError["code"] => {
  try {
    return work();
  } catch (error) {
    if (error instanceof IommuDriverError) return error.code;
    throw error;
  }
};

class Comparison {
  readonly #sides: Sides;
  readonly #held: Held[] = [];

  constructor(sides: Sides) {
    this.#sides = sides;
  }

  step(step: Step): void {
    switch (step.do) {
      case "allocate":
        this.#allocate(REQUESTERS[step.requester] as number, step.interrupt); // below their count
        break;
      case "retarget":
        this.#retarget(step.entry, step.interrupt);
        break;
      case "free":
        this.#free(step.entry);
        break;
      case "forge":
        this.#forge(step.entry, REQUESTERS[step.requester] as number); // as above
        break;
      case "restart":
        for (const { driver } of this.#sides) {
          driver.stop();
          driver.start();
        }
    }
    this.#sendAll();
  }

  #allocate(requester: number, interrupt: Interrupt): void {
    const made = this.#sides.map(({ driver }) => attempt(() => driver.allocateInterrupt(requester, interrupt)));
    const entries = made.filter((entry): entry is InterruptEntry => typeof entry !== "string");
    if (entries.length < made.length) expect(made[0]).toBe(made[1]);
    else this.#held.push({ requester, entries, interrupt });
  }

  #retarget(index: number, to: Interrupt): void {
    const held = this.#held[index];
    if (held?.interrupt === undefined) return;
    // AMD's entries have neither: they come with the device's message, which nobody changes.
    const { trigger, redirectionHint } = held.interrupt;
    const interrupt = { ...to, trigger, redirectionHint };
    const refusals = held.entries.map((entry) => attempt(() => { entry.retarget(interrupt); }));
    expect(refusals[0]).toBe(refusals[1]);
    if (refusals[0] === undefined) held.interrupt = interrupt;
  }

  #free(index: number): void {
    const held = this.#held[index];
    if (held === undefined) return;
    const refusals = held.entries.map((entry) => attempt(() => { entry.free(); }));
    const expected = held.interrupt === undefined ? "EINVAL" : undefined;
    expect(refusals).toEqual([expected, expected]);
    held.interrupt = undefined;
  }

  /** Another function's message. AMD looks into a table of the sender's own, where it may find an entry that is the sender's: never the other's. */
  #forge(index: number, requester: number): void {
    const held = this.#held[index];
    if (held?.interrupt === undefined || held.requester === requester) return;
    const own = this.#held.filter((other) => other.requester === requester).map(({ interrupt }) => interrupt);
    for (const [i, side] of this.#sides.entries()) {
      const delivered = send(side, { ...(held.entries[i] as InterruptEntry).message, requester }); // one for each side
      if (side.vendor === "Intel") expect(delivered).toEqual([]);
      for (const { vector, destination } of delivered) expect(own).toContainEqual(expect.objectContaining({ vector, destination }));
    }
  }

  #sendAll(): void {
    for (const { entries, interrupt } of this.#held) {
      if (interrupt === undefined) continue;
      for (const [i, side] of this.#sides.entries()) {
        const delivered = send(side, (entries[i] as InterruptEntry).message); // as above
        // An assertion for each of the many answers would take most of the time.
        if (delivered.length !== 1 || !isSame(delivered[0] as Interrupt, interrupt)) expect(delivered, side.vendor).toEqual([interrupt]);
      }
    }
  }
}

describe.each([true, false])("interrupt entries of both vendors, x2APIC: %s", (x2apic) => {
  test.each(["none", "realistic", "adversarial"] as const)("deliver alike what they were given, after any history; caches: %s", (caches) => {
    fc.assert(
      fc.property(historyOf(x2apic), (history) => {
        const comparison = new Comparison(interruptSides(caches, x2apic));
        for (const step of history) comparison.step(step);
      }),
      { numRuns: RUNS },
    );
  }, TIMEOUT);
});
