/** Rules of a memory request's way through the fabric, where the model routes one and where facts tell of one. */
export const RoutingRule = {
  Sent: "PCIe §2.2.7: memory request",
  Upstream: "PCIe §2.2.4.1: routed by address, upstream",
  SharedBus: "PCI §3.2: on a shared bus every function sees every address; the one that decodes it answers",
  UpstreamForwarding: "PCIe §6.12.1.1: Upstream Forwarding passes a request on that targets the port it came from",
  NoUpstreamForwarding: "PCIe §6.12.1.1: the address is below the port it came from, and Upstream Forwarding is off",
  OwnWindow: "PCI-to-PCI Bridge Architecture §4.1: an address of the bridge's own windows does not go upstream",
} as const;
