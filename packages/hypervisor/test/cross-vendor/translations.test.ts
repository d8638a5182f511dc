/** The same work through `IommuDriver` on both vendors' hardware: the same answers to the same DMA, as a plain map of ranges gives them. */
import { Access, Completion, AddressType, IommuDriverError, newTranslation, NO_PASID, requesterId, type CachePolicy, type IommuDomain } from "@iommu-lab/pci-bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOMAINS, historyOf, type Step } from "./histories.ts";
import { PAIRINGS, type Pairing, type Side, type Sides } from "./machines.ts";
import { PlainRanges, type MappedRange } from "./plain-ranges.ts";

interface Source {
  readonly requester: number;
  readonly pasid: number;
  /** Number of its domain; -1 for none. */
  at: number;
}

/** What DMA is told: where it may go and what it may do there; undefined: nothing. */
type Answer = { readonly page: number; readonly rights: Access } | undefined;

interface FullAnswer {
  readonly answer: Answer;
  readonly pageShift: number;
}

/** Histories are long, and machines take their time to make. */
const RUNS = process.env.IOMMU_LAB_FULL ? 200 : 15;
const TIMEOUT = 300_000;

const READ_WRITE = Access.Read | Access.Write;
const out = newTranslation();

const ask = ({ iommu }: Side, { requester, pasid }: Source, page: number, access: Access): FullAnswer => {
  iommu.translate({ requester, pasid, addressType: AddressType.Untranslated, page, access }, out);
  const passed = out.completion === Completion.Successful;
  if (!passed && out.fault === 0) throw new Error("What is refused has a fault code.");
  return { answer: passed ? { page: out.page, rights: out.permissions & READ_WRITE } : undefined, pageShift: passed ? out.pageShift : 0 };
};

const sameAnswer = (a: Answer, b: Answer): boolean => a?.page === b?.page && a?.rights === b?.rights;

const through = (range: MappedRange, page: number, access: Access): Answer => ((access & ~range.access) === 0 ? { page: range.frame + page - range.page, rights: range.access } : undefined);

/** Both machines and the plain map, on their way through one history. */
class Comparison {
  readonly #sides: Sides;
  readonly #sources: readonly Source[];
  readonly #domains: readonly (readonly [IommuDomain, IommuDomain])[];
  readonly #plain = Array.from({ length: DOMAINS }, () => new PlainRanges());
  readonly #exact: boolean;
  /** Ends of what was worked on lately. */
  readonly #edges: number[] = [0];

  constructor(pairing: Pairing, sources: readonly Omit<Source, "at">[], caches: CachePolicy) {
    this.#sides = pairing.start(caches);
    this.#sources = sources.map((source) => ({ ...source, at: -1 }));
    const [one, other] = this.#sides;
    this.#domains = Array.from({ length: DOMAINS }, () => [one.driver.createDomain({ kind: "paging" }), other.driver.createDomain({ kind: "paging" })]);
    this.#exact = caches === "none";
    this.#attach(0, 0);
  }

  get pageSizes(): readonly (readonly number[])[] {
    return (this.#domains[0] ?? []).map(({ pageSizes }) => pageSizes);
  }

  step(step: Step): void {
    switch (step.do) {
      case "map":
        this.#map(step.domain, step.range);
        break;
      case "unmap":
        this.#unmap(step.domain, step.range);
        break;
      case "flush":
        for (const domain of this.#domainsOf(step.domain)) domain.flush();
        this.#plainOf(step.domain).flush();
        break;
      case "attach":
        this.#attach(step.source, step.domain);
        break;
      case "detach":
        this.#detach(step.source);
        break;
      case "ask":
        this.#askAll(step.page);
    }
    for (const page of this.#edges.slice(-8)) this.#askAll(page);
  }

  #domainsOf(domain: number): readonly IommuDomain[] {
    return this.#domains[domain] ?? [];
  }

  #plainOf(domain: number): PlainRanges {
    return this.#plain[domain] as PlainRanges; // numbers of domains are below their count
  }

  #touched({ page, count }: MappedRange): void {
    this.#edges.push(Math.max(0, page - 1), page, page + count - 1, page + count);
  }

  #map(number: number, range: MappedRange): void {
    const refusals = this.#domainsOf(number).map((domain) => {
      try {
        domain.map(range.page * 4096, range.frame * 4096, range.count * 4096, range.access);
        return "";
      } catch (error) {
        if (error instanceof IommuDriverError) return error.code;
        throw error;
      }
    });
    const expected = this.#plainOf(number).map(range) ? "" : "EEXIST";
    expect(refusals).toEqual([expected, expected]);
    this.#touched(range);
  }

  #unmap(number: number, range: MappedRange): void {
    const bytes = this.#domainsOf(number).map((domain) => domain.unmap(range.page * 4096, range.count * 4096));
    const expected = this.#plainOf(number).unmap(range) * 4096;
    expect(bytes).toEqual([expected, expected]);
    this.#touched(range);
  }

  #attach(number: number, domain: number): void {
    const source = this.#sources[number] as Source; // numbers of sources are below their count
    const domains = this.#domains[domain] as readonly [IommuDomain, IommuDomain]; // as above
    for (const [i, { driver }] of this.#sides.entries()) driver.attach(source.requester, domains[i as 0 | 1], source.pasid === NO_PASID ? undefined : source.pasid);
    source.at = domain;
  }

  #detach(number: number): void {
    const source = this.#sources[number] as Source; // as above
    if (source.at < 0) return;
    for (const { driver } of this.#sides) driver.detach(source.requester, source.pasid === NO_PASID ? undefined : source.pasid);
    source.at = -1;
  }

  #askAll(page: number): void {
    for (const source of this.#sources) for (const access of [Access.Read, Access.Write]) this.#compare(source, page, access);
  }

  #compare(source: Source, page: number, access: Access): void {
    const plain = source.at < 0 ? undefined : this.#plainOf(source.at);
    const range = plain?.at(page);
    const expected = range && through(range, page, access);
    const told = this.#sides.map((side) => ask(side, source, page, access));
    const stale = this.#exact ? [] : (plain?.staleAt(page) ?? []);
    const allowed = stale.length === 0 ? [expected] : [undefined, ...stale.map((old) => through(old, page, access))];
    const right = told.every(({ answer }) => allowed.some((one) => sameAnswer(one, answer))) && (!this.#exact || told[0]?.pageShift === told[1]?.pageShift);
    // An assertion for each of the many answers would take most of the time.
    if (!right) expect(told, `source ${source.requester}/${source.pasid}, page ${page}, access ${access}`).toEqual(this.#sides.map(() => ({ answer: allowed, pageShift: "alike" })));
  }
}

/** Runs a history on fresh machines; throws at the first difference. */
const compare = (pairing: Pairing, sources: readonly Omit<Source, "at">[], caches: CachePolicy) => (history: readonly Step[]): void => {
  const comparison = new Comparison(pairing, sources, caches);
  for (const step of history) comparison.step(step);
};

describe.each(PAIRINGS)("$name of both vendors", (pairing) => {
  const requesters = [requesterId(0, 3, 0), requesterId(1, 0, 1), requesterId(0x80, 20, 7)];
  const sources = [...requesters.map((requester) => ({ requester, pasid: NO_PASID })), ...pairing.pasids.map((pasid) => ({ requester: requesters[0] as number, pasid }))];
  const histories = historyOf(pairing, sources.length);

  test("offer the same page sizes", () => {
    const sizes = [2 ** 12, 2 ** 21, 2 ** 30];
    expect(new Comparison(pairing, sources, "none").pageSizes).toEqual([sizes, sizes]);
  });

  test.each(["none", "realistic", "adversarial"] as const)("answer DMA alike, and as a plain map of ranges does, after any history; caches: %s", (caches) => {
    fc.assert(fc.property(histories, compare(pairing, sources, caches)), { numRuns: RUNS });
  }, TIMEOUT);

  test.each([0, 1] as const)("a flush that does nothing on one side (%i) would be noticed", (side) => {
    const forgetful: Pairing = {
      ...pairing,
      start: (caches) => {
        const sides = pairing.start(caches);
        const { driver } = sides[side];
        const createDomain = driver.createDomain.bind(driver);
        driver.createDomain = (kind) => Object.assign(createDomain(kind), { flush: () => undefined });
        return sides;
      },
    };
    expect(fc.check(fc.property(histories, compare(forgetful, sources, "adversarial")), { endOnFailure: true }).failed).toBe(true);
  });
});
