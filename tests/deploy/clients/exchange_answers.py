"""What an exchange of Binance's kind answers: as much as its clients read."""

from typing import Any

SYMBOL = "BTCUSDT"
TIME, ORDER, LISTEN_KEY, WITHDRAWAL = (
    1_499_827_319_559,
    28,
    "pqia91ma19a5s61cv6a81va65sdf19v8",
    "7213fea8e94b4a55",
)
ACCOUNT_TYPE, TRADE, PRICE = "SPOT", 28_457, "4.00000200"
_ORDER = {
    "symbol": SYMBOL, "orderId": ORDER, "orderListId": -1, "clientOrderId": "x", "transactTime": TIME,
    "price": "10.00000000", "origQty": "1.00000000", "executedQty": "0.00000000", "cummulativeQuoteQty": "0.00000000",
    "status": "NEW", "timeInForce": "GTC", "type": "LIMIT", "side": "BUY", "workingTime": TIME, "fills": [],
    "selfTradePreventionMode": "NONE", "origQuoteOrderQty": "0.00000000",
}  # fmt: skip
_INFO = {
    "timezone": "UTC", "serverTime": TIME, "rateLimits": [], "exchangeFilters": [],
    "symbols": [{
        "symbol": SYMBOL, "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8, "quoteAsset": "USDT",
        "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"], "icebergAllowed": True, "ocoAllowed": True, "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False, "permissions": [], "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
        ],
    }],
}  # fmt: skip
_TICKER = {
    "symbol": SYMBOL, "lastPrice": PRICE, "priceChange": "1.0", "priceChangePercent": "1.0", "weightedAvgPrice": "1.0",
    "openPrice": "99.0", "highPrice": "100.0", "lowPrice": "0.1", "bidPrice": "4.0", "askPrice": "4.1", "volume": "1.0",
    "quoteVolume": "1.0", "openTime": TIME, "closeTime": TIME, "firstId": 1, "lastId": 2, "count": 2,
}  # fmt: skip
_TRADE = {
    "id": TRADE, "price": "4.0", "qty": "12.0", "quoteQty": "48.0", "time": TIME, "isBuyerMaker": True,
    "isBestMatch": True,
}  # fmt: skip
_ACCOUNT = {
    "makerCommission": 15, "takerCommission": 15, "buyerCommission": 0, "sellerCommission": 0, "canTrade": True,
    "canWithdraw": True, "canDeposit": True, "brokered": False, "requireSelfTradePrevention": False,
    "updateTime": TIME, "accountType": ACCOUNT_TYPE, "permissions": ["SPOT"], "uid": 1,
    "commissionRates": {"maker": "0.001", "taker": "0.001", "buyer": "0", "seller": "0"},
    "balances": [{"asset": "BTC", "free": "1.0", "locked": "0.0"}],
}  # fmt: skip
ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/api/v3/ping"): {},
    ("GET", "/api/v3/time"): {"serverTime": TIME},
    ("GET", "/api/v3/exchangeInfo"): _INFO,
    ("GET", "/api/v3/ticker/24hr"): _TICKER,
    ("GET", "/api/v3/historicalTrades"): [_TRADE],
    ("POST", "/api/v3/userDataStream"): {"listenKey": LISTEN_KEY},
    ("PUT", "/api/v3/userDataStream"): {},
    ("GET", "/api/v3/account"): _ACCOUNT,
    ("POST", "/api/v3/order"): _ORDER,
    ("DELETE", "/api/v3/order"): {**_ORDER, "status": "CANCELED", "origClientOrderId": "x"},
    ("POST", "/sapi/v1/capital/withdraw/apply"): {"id": WITHDRAWAL},
}
#: What each call returns to its client, as text.
RESULTS = {
    "time": str(TIME),
    "market": PRICE,
    "trades": str(TRADE),
    "stream": LISTEN_KEY,
    "keepalive": "ok",
    "account": ACCOUNT_TYPE,
    "order": str(ORDER),
    "reserved": str(ORDER),
    "cancel": str(ORDER),
    "withdraw": WITHDRAWAL,
}
