export { CAP_REG, ECAP_REG, VER_REG } from "./capability-registers.ts";
export { FAULT_REASONS, type FaultReasonText } from "./fault-reasons.ts";
export { FAULT_RECORD, PAGE_REQUEST_DESCRIPTOR } from "./fault-record.ts";
export {
  CONTEXT_DESCRIPTOR,
  DESCRIPTORS,
  DEVICE_TLB_DESCRIPTOR,
  INTERRUPT_ENTRY_DESCRIPTOR,
  IOTLB_DESCRIPTOR,
  PAGE_GROUP_RESPONSE_DESCRIPTOR,
  PASID_CACHE_DESCRIPTOR,
  PASID_DEVICE_TLB_DESCRIPTOR,
  PASID_IOTLB_DESCRIPTOR,
  WAIT_DESCRIPTOR,
} from "./invalidation-descriptors.ts";
export * from "./optional-registers.ts";
export { FIRST_STAGE_ENTRY, SECOND_STAGE_ENTRY } from "./page-table-entries.ts";
export * from "./registers.ts";
export { CONTEXT_ENTRY, PASID_DIRECTORY_ENTRY, PASID_ENTRY, ROOT_ENTRY, SCALABLE_CONTEXT_ENTRY, SCALABLE_ROOT_ENTRY } from "./table-entries.ts";
