export { injectFault, INJECTIONS, overflowLog, type InjectedFault, type Injection, type InjectionSite } from "./inject.ts";
export { AMD_QUEUE, tapQueue, VTD_QUEUE, type QueueEntry, type QueueKind, type QueueRule } from "./queue-tap.ts";
