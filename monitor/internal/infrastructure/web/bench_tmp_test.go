package web
import ("testing";"context";"fmt";"time";"net/http";"github.com/uow-go/uow";"github.com/uow-go/uow/monitor/internal/domain")
func TestTmpBig(t *testing.T){
 s:=emptySample(t,sampleTime())
 check(t,s.db.Do(t.Context(),func(_ context.Context,u *uow.Unit) error{ for i:=range 10000 { id:=fmt.Sprintf("%s|DiskFull|%d",nodeGroup,i); if err:=s.state.Alerts.In(u).Add(&domain.Alert{ID:id,Group:nodeGroup,Rule:"DiskFull",Name:"DiskFull",State:domain.Firing,ActiveAt:s.now,FiredAt:s.now,Labels:map[string]string{"alertname":"DiskFull","instance":fmt.Sprint("host-",i),"job":"node","severity":"page"}}); err!=nil{return err}
 for _,d:=range []string{"pager","chat"} { if err:=s.state.Deliveries.In(u).Add(&domain.Delivery{ID:id+d,Alert:id,Destination:d,State:domain.Delivered,CreatedAt:s.now,LastAt:s.now}); err!=nil {return err}}}; return nil}))
 h:=s.server().Handler()
 for _,p:=range []string{"/","/api/v1/alerts","/api/v1/rules","/?q=host-77","/rules","/deliveries","/outbox"} { n:=time.Now(); w:=call(t,h,p); fmt.Println(p,w.Code,w.Body.Len(),time.Since(n)) }
 _ = http.StatusOK
}
