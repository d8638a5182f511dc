import { Access, Completion, formatAddress, type Interrupt, type IommuFault } from "@iommu-lab/pci-bus";
import type { BusRequest, BusTraceSink, InterruptOutcome } from "@iommu-lab/pci-bus/model";
import { formatResources } from "@iommu-lab/vga-arbiter";
import type { MachineOptions } from "../machine/machine.ts";
import type { MachineWatch } from "../machine/machine-watch.ts";
import type { RunEvent } from "./run-schema.ts";

type EventOf<K extends RunEvent["kind"]> = Extract<RunEvent, { readonly kind: K }>;

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const COMPLETIONS = { [Completion.Successful]: "successful-completion", [Completion.UnsupportedRequest]: "unsupported-request", [Completion.CompleterAbort]: "completer-abort" } as const;
const ACCESS_WORDS: readonly (readonly [number, EventOf<"fault">["access"]])[] = [[Access.Write, "write"], [Access.Read, "read"], [Access.Execute, "execute"]];

/** A fault in the words of results and events. */
export const faultWords = ({ requester, address, access, interrupt, code, text }: IommuFault): Pick<EventOf<"fault">, "requester" | "address" | "access" | "code" | "text"> => ({
  requester: formatAddress({ domain: 0, requester }),
  address: hex(address),
  access: interrupt === undefined ? (ACCESS_WORDS.find(([bit]) => (access & bit) !== 0)?.[1] ?? "unknown") : "interrupt",
  code: hex(code),
  text,
});

const interruptWords = ({ vector, destination, destinationMode, deliveryMode, trigger }: Readonly<Interrupt>): NonNullable<EventOf<"interrupt">["interrupt"]> => ({ vector, destination, destinationMode, deliveryMode, trigger });

const outcomeWords = (outcome: InterruptOutcome): Pick<EventOf<"interrupt">, "outcome" | "interrupt" | "posted"> => {
  if (outcome.kind === "delivered") return { outcome: "delivered", interrupt: interruptWords(outcome.interrupt) };
  if (outcome.kind === "blocked") return { outcome: "blocked" };
  const { structure, vector, notification } = outcome.posting;
  return { outcome: "posted", posted: { structure: hex(structure), vector, notification: notification.kind }, ...(notification.kind === "interrupt" ? { interrupt: interruptWords(notification.interrupt) } : {}) };
};

/** Makes a machine tell its events. @param machine which one it is; @param now its clock */
export const watchMachine = (machine: number, now: () => number, event: (event: RunEvent) => void): Required<Pick<MachineOptions, "trace" | "watch">> => {
  const when = (): { readonly machine: number; readonly t: number } => ({ machine, t: now() });
  const trace: BusTraceSink = {
    hop: (hop) => { event({ kind: "hop", ...when(), at: hop.at === "root" ? "root" : formatAddress({ domain: hop.domain, requester: hop.at }), what: hop.kind, decision: hop.decision, rule: hop.rule }); },
    request: ({ from, address, length, write, completion, hpa }: BusRequest) => { event({ kind: "dma", ...when(), from: formatAddress(from), iova: hex(address), length, write, completion: COMPLETIONS[completion], hpa: hpa === undefined ? null : hex(hpa) }); },
    interrupt: (domain, { requester, address, data }, outcome) => { event({ kind: "interrupt", ...when(), from: formatAddress({ domain, requester }), address: hex(address), data: hex(data >>> 0), ...outcomeWords(outcome) }); },
    configWrite: (at, offset, size, value) => { event({ kind: "config-write", ...when(), at: formatAddress(at), offset, size, value: hex(value >>> 0) }); },
  };
  let shown = "";
  const watch: MachineWatch = {
    fault: (fault) => { event({ kind: "fault", ...when(), ...faultWords(fault) }); },
    map: (domain, iova, hpa, size, access) => { event({ kind: "map", ...when(), domain, iova: hex(iova), hpa: hex(hpa), size: hex(size), read: (access & Access.Read) !== 0, write: (access & Access.Write) !== 0 }); },
    unmap: (domain, iova, size, unmapped) => { event({ kind: "unmap", ...when(), domain, iova: hex(iova), size: hex(size), unmapped: hex(unmapped) }); },
    vga: (arbiter) => {
      const devices = arbiter.states.map(({ device, decodes, owns, locks }) => ({ at: formatAddress(device.address), decodes: formatResources(decodes), owns: formatResources(owns), locks: formatResources(locks) }));
      const waiting = arbiter.waiting.map(({ device }) => formatAddress(device.address));
      const state = JSON.stringify([devices, waiting]);
      if (state === shown) return;
      shown = state;
      event({ kind: "vga", ...when(), devices, waiting });
    },
    exit: (vm, reason, handledIn) => { event({ kind: "exit", ...when(), vm, reason, handledIn }); },
  };
  return { trace, watch };
};
