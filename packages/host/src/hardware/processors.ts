/** Whether hardware can translate DMA. "unknown" is never "no". */
export type HardwareSupport = "yes" | "no" | "unknown";

/** A processor as /proc/cpuinfo names it. */
export interface Processor {
  readonly vendor: string;
  /** "model name" of /proc/cpuinfo. */
  readonly name: string;
  readonly family: number | undefined;
  readonly model: number | undefined;
}

/** One row of the hardware base. */
interface ProcessorRow {
  readonly pattern: RegExp;
  readonly support: "yes" | "no";
  /** Who says so, in words. */
  readonly source: string;
}

const ark = (name: string, answer: "yes" | "no"): string => `Intel's product page of the ${name}: Intel Virtualization Technology for Directed I/O, ${answer}`;
const row = (pattern: RegExp, support: "yes" | "no", name: string): ProcessorRow => ({ pattern, support, source: ark(name, support) });

/**
 * Processors by name, first match first. Only rows that a public page states; everything else is unknown.
 * Since the 6th generation every Core desktop and mobile processor has it, so whole families follow from their names.
 */
const ROWS: readonly ProcessorRow[] = [
  row(/\bi7-2600K\b/, "no", "Core i7-2600K"),
  row(/\bi7-2700K\b/, "no", "Core i7-2700K"),
  row(/\bi5-2500K\b/, "no", "Core i5-2500K"),
  row(/\bi7-2600S?\b/, "yes", "Core i7-2600"),
  row(/\bi5-2500[ST]?\b/, "yes", "Core i5-2500"),
  row(/\bi5-2400\b/, "yes", "Core i5-2400"),
  row(/\bi7-39[36]0[KX]\b/, "yes", "Core i7-3930K and i7-3960X"),
  row(/\bi7-3770K\b/, "no", "Core i7-3770K"),
  row(/\bi5-3570K\b/, "no", "Core i5-3570K"),
  row(/\bi7-3770[ST]?\b/, "yes", "Core i7-3770"),
  row(/\bi5-3570[ST]?\b/, "yes", "Core i5-3570"),
  row(/\bi7-4770K\b/, "no", "Core i7-4770K"),
  row(/\bi5-4670K\b/, "no", "Core i5-4670K"),
  row(/\bi7-4790K\b/, "yes", "Core i7-4790K"),
  row(/\bi5-4690K\b/, "yes", "Core i5-4690K"),
  row(/\bi7-4770[ST]?\b/, "yes", "Core i7-4770"),
  row(/\bi7-4790[ST]?\b/, "yes", "Core i7-4790"),
  row(/\bi3-2[01]\d\d[A-Z]?\b/, "no", "Core i3-2100 series"),
  row(/\bi3-32\d\d[A-Z]?\b/, "no", "Core i3-3200 series"),
  { pattern: /\bi[3579]-(?:[6-9]|1[0-4])\d{3}[A-Z]{0,2}\d?\b/, support: "yes", source: "Intel's product pages of the 6th to 14th generation Core processors: Intel Virtualization Technology for Directed I/O, yes" },
  { pattern: /\bCore\(TM\) Ultra\b/, support: "yes", source: "Intel's product pages of the Core Ultra processors: Intel Virtualization Technology for Directed I/O, yes" },
  { pattern: /\bXeon\(R\).* E[357]-\d{4}/, support: "yes", source: "Intel's product pages of the Xeon E3, E5 and E7 families: Intel Virtualization Technology for Directed I/O, yes" },
  { pattern: /\bXeon\(R\) (?:Platinum|Gold|Silver|Bronze)\b/, support: "yes", source: "Intel's product pages of the Xeon Scalable families: Intel Virtualization Technology for Directed I/O, yes" },
  { pattern: /\bRyzen\b|\bThreadripper\b|\bEPYC\b/, support: "yes", source: "AMD's processor programming references of families 17h to 1Ah: the I/O hub holds an IOMMU" },
  { pattern: /\bGX-412TC\b/, support: "yes", source: "AMD's BIOS and kernel developer's guide of family 16h models 30h to 3Fh: D0F2 is an IOMMU" },
];

const field = (text: string, name: string): string | undefined => new RegExp(`^${name}[ \\t]*:[ \\t]*(.{1,200})$`, "m").exec(text)?.[1]?.trim();

/** The processor that a text of /proc/cpuinfo tells of. */
export const processorOf = (cpuinfo: string | undefined): Processor | undefined => {
  const text = cpuinfo?.slice(0, 65_536) ?? "";
  const [vendor, name] = [field(text, "vendor_id"), field(text, "model name")];
  const number = (of: string): number | undefined => (/^\d+$/.test(field(text, of) ?? "") ? Number(field(text, of)) : undefined);
  return vendor === undefined || name === undefined ? undefined : { vendor, name, family: number("cpu family"), model: number("model") };
};

/** Whether a processor has an IOMMU at all, as far as the base knows it. */
export const judgeProcessor = ({ name }: Processor): { readonly support: HardwareSupport; readonly source: string } => {
  const found = ROWS.find(({ pattern }) => pattern.test(name));
  return found ?? { support: "unknown", source: "not in the hardware base" };
};
