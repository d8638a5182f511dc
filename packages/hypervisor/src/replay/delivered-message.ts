import type { Interrupt, InterruptSink } from "@iommu-lab/pci-bus";
import { traceHex, traceWide } from "./trace-lines.ts";

/** An interrupt that left the IOMMU, as a trace has it. */
export interface DeliveredMessage {
  readonly addr: string;
  readonly data: string;
}

const messageOf = ({ vector, deliveryMode, destination, destinationMode, trigger, redirectionHint }: Readonly<Interrupt>): DeliveredMessage => {
  const address = 0xfee0_0000 + (destination & 0xff) * 0x1000 + (redirectionHint ? 8 : 0) + (destinationMode === "logical" ? 4 : 0);
  return { addr: traceWide(address, destination & ~0xff), data: traceHex(vector | (deliveryMode << 8) | (trigger === "level" ? 0x8000 : 0)) };
};

/** Tells what leaves the IOMMU before the processors take it; undefined for a posting that notifies nobody. */
export const watchDeliveries = (sink: InterruptSink, told: (message: DeliveredMessage | undefined) => void): InterruptSink => ({
  deliver: (interrupt) => {
    told(messageOf(interrupt));
    sink.deliver(interrupt);
  },
  post: (posting) => {
    told(posting.notification.kind === "interrupt" ? messageOf(posting.notification.interrupt) : undefined);
    sink.post(posting);
  },
});
