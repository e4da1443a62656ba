/** `settle/testing`: for users who test what they build on Settle. Never part of a running service. */
export {
  barrierContract,
  type BarrierContractRunner,
  type ContractBarrier,
} from '../participant/contract.ts';
export {
  publisherContract,
  type BrokerNeeds,
  type ContractBroker,
  type PublisherContractRunner,
  type PublisherFact,
  type ReceivedMessage,
} from '../relay/publisher-contract.ts';
export {
  relayStoreContract,
  type ContractPlace,
  type RelayStoreContractRunner,
} from '../relay/store-contract.ts';
export { storeContract, type ContractRunner, type ContractStore } from '../store/contract.ts';
export {
  exchangeContract,
  type ContractExchangeOptions,
  type ExchangeContractRunner,
} from '../http/contract.ts';
