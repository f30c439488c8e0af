from mlops_assets_tests.assets.shop import BATCH, DAYS, NEWEST, RELEASE, Shop, counts, edited, words
import time
def test_x(built, shop):
    s=shop.run(); assert not s.outcomes and s.current==24, s
def test_y(shop):
    f=edited(shop.landing(DAYS[1]), lambda l:[x.replace(",",";") for x in l])
    s=shop.called("run"); print(s.text)
    shop.landing(DAYS[1]).write_text(f)
    s=shop.called("run"); print(s.text)
    with shop.instance() as i:
        import dagster as dg
        from mlops_assets.assets.dagster_private import latest_check
        r=latest_check(i, dg.AssetCheckKey(dg.AssetKey(["visits","raw","visits"]),"readable"), DAYS[1])
        print(r.status)
    assert 0
