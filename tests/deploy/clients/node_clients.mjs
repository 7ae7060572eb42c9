// Runs one of npm's clients of Binance's API: `node node_clients.mjs NAME`, a job (JSON) on standard input. The job names
// the base URLs and the keys; each call with each of them is printed as a line of JSON. See python_clients.py.
import {createRequire} from 'node:module';
import {readFileSync} from 'node:fs';

const require = createRequire(import.meta.url);
const SYMBOL = 'BTCUSDT', COIN = 'BTC', ADDRESS = 'bc1q-address';
// A client order id with characters that are encoded in a URL.
const RESERVED = 'a b+c/d=e&f';
const ORDER = {symbol: SYMBOL, side: 'BUY', type: 'LIMIT', timeInForce: 'GTC', quantity: '1', price: '10.5'};

const CLIENTS = {
    '@binance/connector': (base, kind, key) => {
        const {Spot, PrivateKeyAlgo} = require('@binance/connector');
        const algorithm = {ed25519: PrivateKeyAlgo.ED25519, rsa: PrivateKeyAlgo.RSA}[kind];
        const client = new Spot(key.id, kind === 'hmac' ? key.secret : '', {
            baseURL: base, ...(algorithm && {privateKey: key.secret, privateKeyAlgo: algorithm}),
        });
        const {symbol, side, type, ...rest} = ORDER;
        return {
            time: async () => (await client.time()).data.serverTime,
            market: async () => (await client.ticker24hr(SYMBOL)).data.lastPrice,
            trades: async () => (await client.historicalTrades(SYMBOL)).data[0].id,
            stream: async () => (await client.createListenKey()).data.listenKey,
            keepalive: async () => (await client.renewListenKey('k')) && 'ok',
            account: async () => (await client.account()).data.accountType,
            order: async () => (await client.newOrder(symbol, side, type, rest)).data.orderId,
            reserved: async () => (await client.newOrder(symbol, side, type, {...rest, newClientOrderId: RESERVED})).data.orderId,
            cancel: async () => (await client.cancelOrder(SYMBOL, {orderId: 28})).data.orderId,
            withdraw: async () => (await client.withdraw(COIN, ADDRESS, 1)).data.id,
        };
    },
    '@binance/spot': (base, kind, key) => {
        const {Spot} = require('@binance/spot');
        const secret = kind === 'hmac' ? {apiSecret: key.secret} : {privateKey: key.secret};
        const api = new Spot({configurationRestAPI: {apiKey: key.id, basePath: base, retries: 0, ...secret}}).restAPI;
        const order = {...ORDER, quantity: 1, price: 10.5};
        return {
            time: async () => (await (await api.time()).data()).serverTime,
            market: async () => (await (await api.ticker24hr({symbol: SYMBOL})).data()).lastPrice,
            trades: async () => (await (await api.historicalTrades({symbol: SYMBOL})).data())[0].id,
            account: async () => (await (await api.getAccount()).data()).accountType,
            order: async () => (await (await api.newOrder(order)).data()).orderId,
            reserved: async () => (await (await api.newOrder({...order, newClientOrderId: RESERVED})).data()).orderId,
            cancel: async () => (await (await api.deleteOrder({symbol: SYMBOL, orderId: 28})).data()).orderId,
        };
    },
    binance: (base, kind, key) => {
        const {MainClient} = require('binance');
        const client = new MainClient({api_key: key.id, api_secret: key.secret, baseUrl: base, beautifyResponses: false});
        return {
            // getServerTime() ignores baseUrl.
            time: async () => (await client.get('api/v3/time')).serverTime,
            market: async () => (await client.get24hrChangeStatistics({symbol: SYMBOL})).lastPrice,
            trades: async () => (await client.getHistoricalTrades({symbol: SYMBOL}))[0].id,
            stream: async () => (await client.getSpotUserDataListenKey()).listenKey,
            keepalive: async () => (await client.keepAliveSpotUserDataListenKey('k')) && 'ok',
            account: async () => (await client.getAccountInformation()).accountType,
            order: async () => (await client.submitNewOrder(ORDER)).orderId,
            reserved: async () => (await client.submitNewOrder({...ORDER, newClientOrderId: RESERVED})).orderId,
            cancel: async () => (await client.cancelOrder({symbol: SYMBOL, orderId: 28})).orderId,
            withdraw: async () => (await client.withdraw({coin: COIN, address: ADDRESS, amount: 1})).id,
        };
    },
    'binance-api-node': (base, kind, key) => {
        const Binance = require('binance-api-node').default;
        const secret = kind === 'hmac' ? {apiSecret: key.secret} : {privateKey: key.secret};
        const client = Binance({apiKey: key.id, httpBase: base, ...secret});
        return {
            time: async () => await client.time(),
            market: async () => (await client.dailyStats({symbol: SYMBOL})).lastPrice,
            trades: async () => (await client.tradesHistory({symbol: SYMBOL}))[0].id,
            stream: async () => (await client.getDataStream()).listenKey,
            keepalive: async () => (await client.keepDataStream({listenKey: 'k'})) && 'ok',
            account: async () => (await client.accountInfo()).accountType,
            order: async () => (await client.order(ORDER)).orderId,
            reserved: async () => (await client.order({...ORDER, newClientOrderId: RESERVED})).orderId,
            cancel: async () => (await client.cancelOrder({symbol: SYMBOL, orderId: 28})).orderId,
            withdraw: async () => (await client.withdraw({coin: COIN, address: ADDRESS, amount: 1})).id,
        };
    },
    'node-binance-api': (base, kind, key) => {
        const Binance = require('node-binance-api');
        const client = new (Binance.default || Binance)({
            ...(kind === 'hmac' ? {APISECRET: key.secret} : {PRIVATEKEY: key.secret}), APIKEY: key.id,
            urls: {base: `${base}/api/`, sapi: `${base}/sapi/`}, log: () => {},
        });
        return {
            time: async () => (await client.time()).serverTime,
            market: async () => (await client.prevDay(SYMBOL)).lastPrice,
            trades: async () => (await client.historicalTrades(SYMBOL))[0].id,
            account: async () => (await client.account()).accountType,
            order: async () => (await client.buy(SYMBOL, 1, 10.5)).orderId,
            reserved: async () => (await client.buy(SYMBOL, 1, 10.5, {newClientOrderId: RESERVED})).orderId,
            cancel: async () => (await client.cancel(SYMBOL, 28)).orderId,
            withdraw: async () => (await client.withdraw(COIN, ADDRESS, 1)).id,
        };
    },
    ccxt: async (base, kind, key) => {
        const {default: ccxt} = await import('ccxt');
        const client = new ccxt.binance({
            apiKey: key.id, secret: key.secret, enableRateLimit: false,
            options: {fetchMarkets: {types: ['spot']}, fetchMargins: false, fetchCurrencies: false},
        });
        Object.assign(client.urls.api, {public: `${base}/api/v3`, private: `${base}/api/v3`, sapi: `${base}/sapi/v1`});
        const symbol = 'BTC/USDT', limit = [symbol, 'limit', 'buy', 1, 10.5];
        return {
            time: async () => await client.fetchTime(),
            market: async () => (await client.fetchTicker(symbol)).info.lastPrice,
            trades: async () => (await client.publicGetHistoricalTrades({symbol: SYMBOL}))[0].id,
            stream: async () => (await client.publicPostUserDataStream()).listenKey,
            keepalive: async () => (await client.publicPutUserDataStream({listenKey: 'k'})) && 'ok',
            account: async () => (await client.fetchBalance()).info.accountType,
            order: async () => (await client.createOrder(...limit)).id,
            reserved: async () => (await client.createOrder(...limit, {newClientOrderId: RESERVED})).id,
            cancel: async () => (await client.cancelOrder('28', symbol)).id,
            withdraw: async () => (await client.withdraw(COIN, 1, ADDRESS)).id,
        };
    },
};

// Libraries write their own lines to standard output.
const print = (result) => process.stdout.write(`${JSON.stringify(result)}\n`);
console.log = console.info = console.warn = console.debug = () => {};

const job = JSON.parse(readFileSync(0));
for (const [front, base] of Object.entries(job.fronts)) {
    for (const [kind, key] of Object.entries(job.keys)) {
        for (const [call, run] of Object.entries(await CLIENTS[process.argv[2]](base, kind, key))) {
            try {
                print({front, key: kind, call, value: String(await run())});
            } catch (error) {
                const text = error && (error.message || error.body?.msg || JSON.stringify(error));
                print({front, key: kind, call, error: `${error?.name}: ${text}`.slice(0, 500)});
            }
        }
    }
}
process.exit(0);
