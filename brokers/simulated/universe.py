"""The instruments of the simulated broker: common US ETFs and stocks at plausible prices of 2026."""

UNIVERSE = """
SPY|SPDR S&P 500 ETF|US stocks|684.20|1|2
VOO|Vanguard S&P 500 ETF|US stocks|629.10|1|2
IVV|iShares Core S&P 500 ETF|US stocks|687.40|1|2
VTI|Vanguard Total US Stock Market|US stocks|338.50|1|2
ITOT|iShares Core US Total Market|US stocks|149.30|2|2
QQQ|Invesco QQQ Trust|US stocks|618.70|1|3
DIA|SPDR Dow Jones Industrial Average|US stocks|474.60|2|2
IWM|iShares Russell 2000|US small caps|246.80|1|3
USMV|iShares MSCI USA Minimum Volatility|US stocks|94.60|2|1
SCHD|Schwab US Dividend Equity|US stocks|27.40|4|2
VUG|Vanguard Growth|US stocks|487.90|2|3
VTV|Vanguard Value|US stocks|191.20|2|2
XLK|Technology Select Sector SPDR|US sectors|288.40|2|3
XLF|Financial Select Sector SPDR|US sectors|53.20|2|2
XLE|Energy Select Sector SPDR|US sectors|90.10|2|3
XLV|Health Care Select Sector SPDR|US sectors|151.80|2|2
XLU|Utilities Select Sector SPDR|US sectors|43.70|3|2
XLP|Consumer Staples Select Sector SPDR|US sectors|78.90|2|1
XLI|Industrial Select Sector SPDR|US sectors|153.30|2|2
VXUS|Vanguard Total International Stock|Intl stocks|75.60|2|2
VEA|Vanguard Developed Markets|Intl stocks|61.40|2|2
VWO|Vanguard Emerging Markets|Intl stocks|54.80|2|3
EFA|iShares MSCI EAFE|Intl stocks|96.30|2|2
EEM|iShares MSCI Emerging Markets|Intl stocks|55.10|2|3
BND|Vanguard Total US Bond|US bonds|74.40|2|1
AGG|iShares Core US Aggregate Bond|US bonds|100.30|2|1
BNDX|Vanguard Total International Bond|Intl bonds|49.60|3|1
TLT|iShares 20+ Year Treasury|US bonds|89.70|2|2
IEF|iShares 7-10 Year Treasury|US bonds|97.10|2|1
SHY|iShares 1-3 Year Treasury|US bonds|82.90|1|1
BIL|SPDR 1-3 Month T-Bill|US bonds|91.60|1|0.1
SGOV|iShares 0-3 Month Treasury|US bonds|100.50|1|0.1
TIP|iShares TIPS Bond|Inflation|111.20|2|1
LQD|iShares Investment Grade Corporate|US bonds|111.70|2|1
HYG|iShares High Yield Corporate|US bonds|80.80|2|1
VNQ|Vanguard Real Estate|Real estate|91.40|2|2
GLD|SPDR Gold Shares|Gold|385.90|2|3
IAU|iShares Gold Trust|Gold|78.90|2|3
SLV|iShares Silver Trust|Silver|47.60|3|4
DBC|Invesco DB Commodity Index|Commodities|23.10|6|3
PDBC|Invesco Optimum Yield Commodity|Commodities|13.60|8|3
UUP|Invesco DB US Dollar Bullish|Currencies|28.20|5|1
USDU|WisdomTree US Dollar Bullish|Currencies|26.40|10|1
VXX|iPath S&P 500 VIX Short-Term|Volatility|33.80|6|6
VXZ|iPath S&P 500 VIX Mid-Term|Volatility|52.10|10|4
VIXY|ProShares VIX Short-Term|Volatility|31.40|8|6
VIXM|ProShares VIX Mid-Term|Volatility|15.20|12|4
UVXY|ProShares Ultra VIX Short-Term|Volatility|11.30|10|8
SVXY|ProShares Short VIX Short-Term|Volatility|51.60|8|5
AAPL|Apple|US shares|271.40|1|3
MSFT|Microsoft|US shares|498.20|1|3
NVDA|NVIDIA|US shares|191.60|1|4
AMZN|Amazon|US shares|231.70|1|3
GOOGL|Alphabet|US shares|298.30|1|3
META|Meta Platforms|US shares|621.50|2|3
TSLA|Tesla|US shares|412.80|2|5
BRK.B|Berkshire Hathaway|US shares|507.90|2|2
JPM|JPMorgan Chase|US shares|309.60|2|2
JNJ|Johnson & Johnson|US shares|203.10|2|2
COST|Costco|US shares|918.40|3|2
"""


def instruments() -> list[dict[str, str]]:
    """Return symbol, name, asset class, base price in USD, spread in basis points and volatility in percent."""
    keys = ("symbol", "name", "asset_class", "base_price_usd", "spread_bps", "volatility_percent")
    return [dict(zip(keys, line.split("|"), strict=True)) for line in UNIVERSE.strip().splitlines()]
