export { VgaArbiterError, VgaResource, type VgaArbiter, type VgaClient, type VgaResources } from "./interfaces.ts";
