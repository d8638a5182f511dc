export { buildHost, type BuiltFunction, type BuiltHost } from "./build-host.ts";
export { bundledHosts, bundledTree, readBundled, type BundledHost } from "./bundled-hosts.ts";
export { ivyBridgeZ68, withProcessorAcs } from "./ivy-bridge-z68.ts";
