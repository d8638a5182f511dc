/** How much a line matters: something was blocked or broke; something is wrong; nothing is; all is well. */
export type LogLevel = "fault" | "problem" | "notice" | "good";

/** What a format's lines mean, in three answers. */
export interface LogMeaning {
  readonly level: LogLevel;
  /** What happened; `{name}` stands for a captured field. */
  readonly happened: string;
  /** Why it comes to that; empty where there is nothing to explain. */
  readonly why: string;
  /** What to do; empty where there is nothing to do. */
  readonly advice: string;
}

/** A line that the kernel, VFIO, QEMU or libvirt writes. */
export interface LogFormat extends LogMeaning {
  /** Stable name, in kebab-case. */
  readonly id: string;
  /** Looked for anywhere in a line; named groups become the fields. A group "device" is a PCI address. */
  readonly pattern: RegExp;
}
