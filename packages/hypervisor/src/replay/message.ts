import type { ExplanationSink, Interrupt, InterruptSink, InterruptVerdict, Posting } from "@iommu-lab/pci-bus";
import { hex64, type Json } from "./trace-fields.ts";
import type { MessageSent, TracedInterrupt, TracedMessage } from "./trace-step.ts";
import type { TracedMachine } from "./traced-machine.ts";

const asTraced = ({ destination, destinationMode, deliveryMode, vector, trigger, redirectionHint }: Readonly<Interrupt>): TracedInterrupt => ({
  dest: destination,
  dest_mode: destinationMode === "logical" ? 1 : 0,
  delivery_mode: deliveryMode,
  vector,
  trigger_mode: trigger === "level" ? 1 : 0,
  redir_hint: redirectionHint ? 1 : 0,
});

/**
 * Takes an MSI apart. Intel SDM vol. 3 "Message Address Register Format"; destination bits 31:8 of x2APIC stand in
 * address bits 63:40, where the recorded machines put them.
 */
export const decodeMessage = ({ address: { low, high }, data }: TracedMessage): TracedInterrupt => ({
  dest: ((high & 0xffff_ff00) | ((low >>> 12) & 0xff)) >>> 0,
  dest_mode: (low >>> 2) & 1,
  delivery_mode: (data >>> 8) & 7,
  vector: data & 0xff,
  trigger_mode: (data >>> 15) & 1,
  redir_hint: (low >>> 3) & 1,
});

/** What became of a message that a device sent; `unaccepted`: it passed, with a delivery mode that no local APIC takes. */
export type MessageOutcome = TracedInterrupt | "blocked" | "posted" | "unaccepted";

/** Keeps the one interrupt that a message becomes. */
class Catcher implements InterruptSink {
  outcome: MessageOutcome = "blocked";
  deliver(interrupt: Readonly<Interrupt>): void {
    this.outcome = asTraced(interrupt);
  }
  post({ notification }: Posting): void {
    this.outcome = notification.kind === "interrupt" ? asTraced(notification.interrupt) : "posted";
  }
}

/** Sends the MSI of a step through interrupt remapping. */
export const sendMessage = ({ iommu, config }: TracedMachine, step: MessageSent, explain?: ExplanationSink): MessageOutcome => {
  const catcher = new Catcher();
  const verdict: InterruptVerdict = { fault: 0, recorded: false };
  iommu.remapInterrupt({ requester: step.requester, address: step.address.high * 2 ** 32 + step.address.low, data: step.data }, catcher, verdict, explain);
  return config !== undefined && catcher.outcome === "blocked" && verdict.fault === 0 ? "unaccepted" : catcher.outcome;
};

/** Delivery modes that no local APIC takes. Intel SDM vol. 3 "Message Data Register Format". */
const RESERVED_MODES: ReadonlySet<number> = new Set([3, 6]);
/** What AMD traces say of an interrupt: they compare destination, mode and vector. */
const AMD_KEYS = ["dest", "dest_mode", "delivery_mode", "vector"] as const;
const KEYS = ["dest_mode", "delivery_mode", "vector", "trigger_mode", "redir_hint"] as const;
const sameButDestination = (a: TracedInterrupt, b: TracedInterrupt): boolean => KEYS.every((key) => a[key] === b[key]);

/**
 * Whether a message came out as recorded: blocked, or as this interrupt, in both forms that the trace may give. `out`
 * has the whole destination, `irq` may have its low 8 bits only: all that the recorded local-APIC bus shows of it.
 */
export const sameMessage = ({ out, irq }: MessageSent, actual: MessageOutcome, vendor: "intel" | "amd" = "intel"): boolean => {
  if (actual === "unaccepted") return out !== null && RESERVED_MODES.has(decodeMessage(out).delivery_mode);
  if (typeof actual === "string") return actual === "blocked" && out === null;
  if (out === null) return false;
  const message = decodeMessage(out);
  if (vendor === "amd") return AMD_KEYS.every((key) => message[key] === actual[key]);
  if (message.dest !== actual.dest || !sameButDestination(message, actual)) return false;
  return irq === undefined || ((irq.dest === actual.dest || irq.dest === (actual.dest & 0xff)) && sameButDestination(irq, actual));
};

/** A message as the trace writes it. */
export const messageJson = ({ address, data }: TracedMessage): Json => ({ addr: hex64(address), data: `0x${data.toString(16)}` });

/** What the trace expects of a message a device sent. */
export const expectedMessageJson = ({ out, irq }: MessageSent): Json => (out === null ? null : { out: messageJson(out), irq: { ...(irq ?? decodeMessage(out)) } });

export const outcomeJson = (outcome: MessageOutcome): Json => (outcome === "blocked" ? null : typeof outcome === "string" ? outcome : { irq: { ...outcome } });
