export type { InterruptRemapper, IoApic, LocalApics, ProcessorEvent } from "./interfaces.ts";
export { decodeMessage, encodeMessage, newInterrupt, type MessageWrite } from "./msi/message.ts";
export { MESSAGE_ADDRESS, MESSAGE_DATA } from "./msi/message-layouts.ts";
