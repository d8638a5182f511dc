export type { CacheContents, CachedSource, CachedTable, CachedTranslationEntry } from "./cache-contents.ts";
export type { CachePolicy } from "./cache-policy.ts";
export type { Cancel, Clock } from "./clock.ts";
export type { ConfigSpace } from "./config-space.ts";
export { IommuDriverError, type DomainKind, type InterruptEntry, type IommuDomain, type IommuDriver, type IommuDriverCallbacks, type IommuFault } from "./driver.ts";
export type { ExplanationSink, ExplanationStep } from "./explanation.ts";
export type { DmaOptions, FabricPort, PciFunction, UpstreamPort } from "./function.ts";
export { DeliveryMode, type Interrupt, type InterruptMessage, type InterruptSink, type Posting, type PostingNotification } from "./interrupt.ts";
export { MemoryType, newTranslation, type DownstreamPort, type InterruptVerdict, type Iommu, type Translation } from "./iommu.ts";
export {
  busOf,
  compareAddresses,
  deviceOf,
  devfnOf,
  formatAddress,
  formatRequester,
  functionOf,
  parseAddress,
  requesterId,
  type FunctionAddress,
  type RequesterId,
} from "./requester-id.ts";
export {
  Access,
  AddressType,
  Completion,
  NO_PASID,
  PageResponseCode,
  type DeviceTlbInvalidation,
  type PageRequest,
  type PageResponse,
  type TranslationRequest,
} from "./transaction.ts";
